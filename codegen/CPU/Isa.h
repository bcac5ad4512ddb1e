#ifndef MOE_CODEGEN_CPU_ISA_H
#define MOE_CODEGEN_CPU_ISA_H

#include <cstdint>

namespace moe {

/// What kernels know of the processor: how wide its vectors are and how many
/// rows of a product it can keep in registers.
struct Isa {
  int64_t lanes;   ///< f32 numbers in a vector
  int64_t maxRows; ///< rows of the largest microkernel
  /// Vectors are split in two by LLVM: the processor has half of them. For
  /// tests of wide code where it cannot run whole.
  bool splits = false;

  /// Columns of a panel of packed weights: two vectors.
  int64_t width() const { return 2 * lanes; }

  /// 32 registers of 512 bits hold 12 x 2 sums; 16 of 256 bits hold 6 x 2.
  static Isa avx512() { return {16, 12}; }
  static Isa avx2() { return {8, 6}; }
};

} // namespace moe

#endif // MOE_CODEGEN_CPU_ISA_H
