#ifndef MOE_PASSES_ANALYSIS_LOOPS_H
#define MOE_PASSES_ANALYSIS_LOOPS_H

#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Parallel.h"
#include <algorithm>
#include <cstdint>

namespace moe {

#if defined(__x86_64__)
template <typename Fn>
[[gnu::target("avx2"), gnu::noinline]] void withWideVectors(Fn &fn) {
  fn();
}
#endif

/// Runs `fn`, compiled once more for processors with AVX2 where there is such a
/// one. Its call operator has to be `MOE_INLINE`, as must be what it calls.
/// There is no fused multiplication, so that results are those of any other
/// processor.
template <typename Fn>
void runWide(Fn fn) {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx2");
  if (wide)
    return withWideVectors(fn);
#endif
  fn();
}
#define MOE_INLINE __attribute__((always_inline))

/// Calls `fn(first, last)` for pieces of `rows` rows of `columns` numbers, on
/// all processors. Pieces depend on the size alone.
template <typename Fn>
void forRows(int64_t rows, int64_t columns, Fn fn) {
  constexpr int64_t numbers = 1 << 15; // worth handing to another processor
  int64_t each = std::max<int64_t>(1, numbers / std::max<int64_t>(1, columns));
  int64_t pieces = llvm::divideCeil(rows, each);
  if (pieces <= 1) {
    if (rows > 0)
      fn(int64_t(0), rows);
    return;
  }
  llvm::parallelFor(0, pieces, [&](size_t i) {
    int64_t first = static_cast<int64_t>(i) * each;
    fn(first, std::min(first + each, rows));
  });
}

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_LOOPS_H
