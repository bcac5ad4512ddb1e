// wgmma: products that a warpgroup has on their way.
#ifndef MOE_RUNTIME_EMULATOR_WARPGROUP_H
#define MOE_RUNTIME_EMULATOR_WARPGROUP_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::emu {

constexpr uint32_t warpgroupSize = 128;

struct Warpgroup {
  static constexpr uint32_t rows = 64, rowBytes = 128, steps = 4;
  static constexpr uint32_t all = 15; // its four warps, a bit each

  /// 64 rows of sums. Registers hold its number until they are waited for, so
  /// that what uses them earlier computes with NaN.
  struct Sums {
    uint32_t id;
    uint32_t columns;
    uint32_t taken = 0; // by warps
    std::vector<float> values;
  };

  /// Of numbers: those of `moegpu.mma`.
  enum class Kind { BF16, F16, E4M3 = 3 };

  struct Product {
    uint32_t sums; // id
    size_t a, b;   // in shared memory
    /// Rows of `a` that come from registers, at the depth that these have; `a`
    /// is nothing then.
    std::vector<float> left;
    Kind kind;
    uint32_t first = 0, end = steps; // of depth
    uint32_t columns;
    bool isDone = false;
    uint32_t group;
    uint32_t waited = 0; // warps
    const char *site;

    /// Numbers of a row.
    uint32_t depth() const { return kind == Kind::E4M3 ? 128 : 64; }
    bool reads(size_t offset, size_t bytes) const {
      auto meets = [&](size_t at, size_t size) {
        return offset < at + size && at < offset + bytes;
      };
      return (left.empty() && meets(a, rows * rowBytes)) ||
             meets(b, columns * rowBytes);
    }
  };

  uint32_t arrived = 0; // warps, at the next product
  const char *site = nullptr;
  uint32_t fenced = 0; // warps
  uint32_t groups[4] = {};
  uint32_t nextId = 0;
  std::vector<Product> products;
  std::vector<Sums> sums;

  Sums *find(uint32_t id) {
    for (Sums &one : sums)
      if (one.id == id)
        return &one;
    return nullptr;
  }
};

} // namespace moe::emu

#endif // MOE_RUNTIME_EMULATOR_WARPGROUP_H
