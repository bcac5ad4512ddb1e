// A model in one file: code, weights, and a manifest. Format: README.md.
#ifndef MOE_RUNTIME_BUNDLE_BUNDLE_H
#define MOE_RUNTIME_BUNDLE_BUNDLE_H

#include "runtime/Core/File.h"
#include "runtime/Core/Sha256.h"
#include "runtime/Core/Status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

/// A section of a bundle.
struct BundleSection {
  std::string kind;   // "code", "weights"
  std::string target; // "cpu:znver4"; empty: any
  uint64_t offset = 0;
  uint64_t size = 0;
  Sha256::Digest hash = {};
};

struct BundleInfo {
  std::string name;
  std::string producer;
  std::string cpuFeatures;
  std::vector<BundleSection> sections;

  /// The first section of this kind, or null.
  const BundleSection *find(std::string_view kind) const;
};

/// The bytes that every bundle starts with.
extern const std::string_view bundleMagic;

/// Reads and checks the manifest of a bundle that lies in `bytes`; sections are
/// inside the file then. Their contents are not hashed, see verifySection().
Result<BundleInfo> parseBundle(std::string_view bytes, const std::string &what);

/// Does the section have the contents that the manifest says?
Status verifySection(std::string_view bytes, const BundleSection &section,
                     const std::string &what);

/// Writes a bundle front to back, so that weights can be streamed. Sections
/// start at multiples of 4096.
class BundleWriter {
public:
  /// `info.sections` is ignored.
  static Result<std::unique_ptr<BundleWriter>> create(const std::string &path,
                                                      const BundleInfo &info);
  void beginSection(const std::string &kind, const std::string &target);
  void append(std::string_view bytes);
  void endSection();

  /// A section of `size` bytes that the caller then fills with pwrite through
  /// descriptor(), in any order; returns its place. finishReserved() hashes it,
  /// before anything else is written.
  Result<uint64_t> reserveSection(const std::string &kind,
                                  const std::string &target, uint64_t size);
  int descriptor() const { return file->descriptor(); }
  Status finishReserved();
  /// Writes the manifest; the file appears under its name.
  Status commit();

private:
  BundleWriter() = default;
  void put(std::string_view bytes);
  void align(uint64_t multiple);

  std::unique_ptr<OutputFile> file;
  BundleInfo info;
  Sha256 hash;
  uint64_t offset = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_BUNDLE_BUNDLE_H
