#include "runtime/Core/Sha256.h"

#include <algorithm>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace moe::rt {

static constexpr uint32_t roundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

#if defined(__x86_64__)
bool Sha256::findInstructions() {
  unsigned a, b, c, d;
  constexpr unsigned ssse3 = 1 << 9, sse41 = 1 << 19, sha = 1 << 29;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & ssse3) && (c & sse41) &&
         __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & sha);
}

/// Four words and four rounds at a time. The instructions want the state as
/// (a, b, e, f) and (c, d, g, h), first letters in the high words.
__attribute__((target("sha,sse4.1,ssse3"))) static void
blockByInstructions(uint32_t *state, const uint8_t *bytes) {
  auto load = [](const void *from) __attribute__((target("sse2"))) {
    return _mm_loadu_si128(static_cast<const __m128i *>(from));
  };
  const __m128i bigEndian =
      _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i cdab = _mm_shuffle_epi32(load(state), 0xB1);
  __m128i efgh = _mm_shuffle_epi32(load(state + 4), 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
  const __m128i abefBefore = abef, cdghBefore = cdgh;
  __m128i w[4];
  for (int i = 0; i < 4; ++i)
    w[i] = _mm_shuffle_epi8(load(bytes + 16 * i), bigEndian);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    __m128i &oldest = w[i % 4], &newest = w[(i + 3) % 4];
    __m128i sum = _mm_add_epi32(oldest, load(roundConstants + 4 * i));
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
    __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(oldest, w[(i + 1) % 4]),
                                 _mm_alignr_epi8(newest, w[(i + 2) % 4], 4));
    oldest = _mm_sha256msg2_epu32(next, newest);
  }
  abef = _mm_shuffle_epi32(_mm_add_epi32(abef, abefBefore), 0x1B);
  cdgh = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdghBefore), 0xB1);
  _mm_storeu_si128(reinterpret_cast<__m128i *>(state),
                   _mm_blend_epi16(abef, cdgh, 0xF0));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(state + 4),
                   _mm_alignr_epi8(cdgh, abef, 8));
}
#else
bool Sha256::findInstructions() { return false; }
static void blockByInstructions(uint32_t *, const uint8_t *) {}
#endif

void Sha256::block(const uint8_t *bytes) {
  if (hasInstructions)
    return blockByInstructions(state, bytes);
  uint32_t w[64];
  for (int i = 0; i < 16; ++i)
    w[i] = uint32_t(bytes[4 * i]) << 24 | uint32_t(bytes[4 * i + 1]) << 16 |
           uint32_t(bytes[4 * i + 2]) << 8 | bytes[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
           (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
  }
  uint32_t s[8];
  std::copy(state, state + 8, s);
  for (int i = 0; i < 64; ++i) {
    uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
    uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]);
    uint32_t t1 = s[7] + sum1 + choose + roundConstants[i] + w[i];
    uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
    uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    std::copy_backward(s, s + 7, s + 8);
    s[4] += t1;
    s[0] = t1 + sum0 + majority;
  }
  for (int i = 0; i < 8; ++i)
    state[i] += s[i];
}

void Sha256::update(std::string_view bytes) {
  total += bytes.size();
  const auto *data = reinterpret_cast<const uint8_t *>(bytes.data());
  size_t size = bytes.size();
  if (numPending) {
    size_t taken = std::min(size, sizeof(pending) - numPending);
    std::memcpy(pending + numPending, data, taken);
    numPending += taken;
    data += taken;
    size -= taken;
    if (numPending < sizeof(pending))
      return;
    block(pending);
    numPending = 0;
  }
  for (; size >= sizeof(pending); data += 64, size -= 64)
    block(data);
  if (size)
    std::memcpy(pending, data, size);
  numPending = size;
}

Sha256::Digest Sha256::finish() {
  uint64_t bits = total * 8;
  char tail[72] = {'\x80'};
  size_t zeros = (119 - numPending) % 64; // up to 8 bytes before a block's end
  for (int i = 0; i < 8; ++i)
    tail[1 + zeros + i] = static_cast<char>(bits >> (56 - 8 * i));
  update({tail, 1 + zeros + 8});
  Digest digest;
  for (int i = 0; i < 32; ++i)
    digest[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

} // namespace moe::rt
