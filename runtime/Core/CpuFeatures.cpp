#include "runtime/Core/CpuFeatures.h"

#include "runtime/Core/Text.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace moe::rt {
namespace {

#if defined(__x86_64__)

enum Register : uint8_t { Eax, Ebx, Ecx, Edx, Always };
/// Register state the kernel has to save, as bits of XCR0.
enum State : uint8_t { None = 0, Avx = 0x06, Avx512 = 0xE6 };

struct Feature {
  const char *name;
  uint32_t leaf;
  uint8_t subleaf;
  Register reg;
  uint8_t bit;
  State state;
};

// Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E. Every x86-64
// processor has the features marked Always.
constexpr Feature features[] = {
    {"64bit", 0, 0, Always, 0, None},
    {"cmov", 0, 0, Always, 0, None},
    {"cx8", 0, 0, Always, 0, None},
    {"fxsr", 0, 0, Always, 0, None},
    {"mmx", 0, 0, Always, 0, None},
    {"sse", 0, 0, Always, 0, None},
    {"sse2", 0, 0, Always, 0, None},
    {"x87", 0, 0, Always, 0, None},
    {"sse3", 1, 0, Ecx, 0, None},
    {"pclmul", 1, 0, Ecx, 1, None},
    {"ssse3", 1, 0, Ecx, 9, None},
    {"fma", 1, 0, Ecx, 12, Avx},
    {"cx16", 1, 0, Ecx, 13, None},
    {"sse4.1", 1, 0, Ecx, 19, None},
    {"sse4.2", 1, 0, Ecx, 20, None},
    {"crc32", 1, 0, Ecx, 20, None},
    {"movbe", 1, 0, Ecx, 22, None},
    {"popcnt", 1, 0, Ecx, 23, None},
    {"aes", 1, 0, Ecx, 25, None},
    {"xsave", 1, 0, Ecx, 26, None},
    {"avx", 1, 0, Ecx, 28, Avx},
    {"f16c", 1, 0, Ecx, 29, Avx},
    {"rdrnd", 1, 0, Ecx, 30, None},
    {"fsgsbase", 7, 0, Ebx, 0, None},
    {"bmi", 7, 0, Ebx, 3, None},
    {"avx2", 7, 0, Ebx, 5, Avx},
    {"bmi2", 7, 0, Ebx, 8, None},
    {"invpcid", 7, 0, Ebx, 10, None},
    {"avx512f", 7, 0, Ebx, 16, Avx512},
    {"avx512dq", 7, 0, Ebx, 17, Avx512},
    {"rdseed", 7, 0, Ebx, 18, None},
    {"adx", 7, 0, Ebx, 19, None},
    {"avx512ifma", 7, 0, Ebx, 21, Avx512},
    {"clflushopt", 7, 0, Ebx, 23, None},
    {"clwb", 7, 0, Ebx, 24, None},
    {"avx512cd", 7, 0, Ebx, 28, Avx512},
    {"sha", 7, 0, Ebx, 29, None},
    {"avx512bw", 7, 0, Ebx, 30, Avx512},
    {"avx512vl", 7, 0, Ebx, 31, Avx512},
    {"avx512vbmi", 7, 0, Ecx, 1, Avx512},
    {"pku", 7, 0, Ecx, 3, None},
    {"avx512vbmi2", 7, 0, Ecx, 6, Avx512},
    {"shstk", 7, 0, Ecx, 7, None},
    {"gfni", 7, 0, Ecx, 8, None},
    {"vaes", 7, 0, Ecx, 9, Avx},
    {"vpclmulqdq", 7, 0, Ecx, 10, Avx},
    {"avx512vnni", 7, 0, Ecx, 11, Avx512},
    {"avx512bitalg", 7, 0, Ecx, 12, Avx512},
    {"avx512vpopcntdq", 7, 0, Ecx, 14, Avx512},
    {"rdpid", 7, 0, Ecx, 22, None},
    {"avx512vp2intersect", 7, 0, Edx, 8, Avx512},
    {"avx512fp16", 7, 0, Edx, 23, Avx512},
    {"avxvnni", 7, 1, Eax, 4, Avx},
    {"avx512bf16", 7, 1, Eax, 5, Avx512},
    {"avxifma", 7, 1, Eax, 23, Avx},
    {"xsaveopt", 13, 1, Eax, 0, None},
    {"xsavec", 13, 1, Eax, 1, None},
    {"xsaves", 13, 1, Eax, 3, None},
    {"sahf", 0x80000001, 0, Ecx, 0, None},
    {"lzcnt", 0x80000001, 0, Ecx, 5, None},
    {"sse4a", 0x80000001, 0, Ecx, 6, None},
    {"prfchw", 0x80000001, 0, Ecx, 8, None},
    {"mwaitx", 0x80000001, 0, Ecx, 29, None},
    {"clzero", 0x80000008, 0, Ebx, 0, None},
    {"rdpru", 0x80000008, 0, Ebx, 4, None},
    {"wbnoinvd", 0x80000008, 0, Ebx, 9, None},
};

uint64_t xcr0() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

bool hasFeature(std::string_view name) {
  for (const Feature &feature : features) {
    if (name != feature.name)
      continue;
    if (feature.reg == Always)
      return true;
    uint32_t regs[4];
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &regs[0], &regs[1],
                           &regs[2], &regs[3]) ||
        !(regs[feature.reg] >> feature.bit & 1))
      return false;
    if (feature.state == None)
      return true;
    uint32_t basic[4];
    __get_cpuid(1, &basic[0], &basic[1], &basic[2], &basic[3]);
    bool osxsave = basic[2] >> 27 & 1;
    return osxsave && (xcr0() & feature.state) == feature.state;
  }
  return false;
}

#elif defined(__aarch64__)

struct Feature {
  const char *name;
  unsigned long type;
  uint8_t bit;
};

// Linux, Documentation/arch/arm64/elf_hwcaps.rst.
constexpr Feature features[] = {
    {"fp-armv8", AT_HWCAP, 0}, {"neon", AT_HWCAP, 1},
    {"aes", AT_HWCAP, 3},      {"crc", AT_HWCAP, 7},
    {"lse", AT_HWCAP, 8},      {"fullfp16", AT_HWCAP, 10},
    {"rdm", AT_HWCAP, 12},     {"dotprod", AT_HWCAP, 20},
    {"sve", AT_HWCAP, 22},     {"i8mm", AT_HWCAP2, 13},
    {"bf16", AT_HWCAP2, 14},   {"sve2", AT_HWCAP2, 1}};

bool hasFeature(std::string_view name) {
  for (const Feature &feature : features)
    if (name == feature.name)
      return getauxval(feature.type) >> feature.bit & 1;
  return false;
}

#else
bool hasFeature(std::string_view) { return false; }
#endif

} // namespace

std::string missingCpuFeatures(std::string_view wanted) {
  std::string missing;
  while (!wanted.empty()) {
    size_t comma = wanted.find(',');
    std::string_view name = wanted.substr(0, comma);
    wanted.remove_prefix(comma == wanted.npos ? wanted.size() : comma + 1);
    if (!name.empty() && name.front() == '-')
      continue;
    if (!name.empty() && name.front() == '+')
      name.remove_prefix(1);
    if (name.empty() || hasFeature(name))
      continue;
    if (!missing.empty())
      missing += ",";
    missing += printable(name);
  }
  return missing;
}

} // namespace moe::rt
