// SHA-256 (FIPS 180-4), for the content hashes of our formats.
#ifndef MOE_RUNTIME_CORE_SHA256_H
#define MOE_RUNTIME_CORE_SHA256_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moe::rt {

/// Feed bytes in any portions, then take the digest once.
class Sha256 {
public:
  using Digest = std::array<uint8_t, 32>;

  Sha256() : Sha256(true) {}
  /// Uses the processor's own instructions where it has them, about ten times
  /// as fast, unless told not to.
  explicit Sha256(bool useInstructions)
      : hasInstructions(useInstructions && findInstructions()) {}

  void update(std::string_view bytes);
  Digest finish();

  static Digest of(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish();
  }

private:
  static bool findInstructions();
  void block(const uint8_t *bytes);

  bool hasInstructions;

  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t pending[64];
  size_t numPending = 0;
  uint64_t total = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_SHA256_H
