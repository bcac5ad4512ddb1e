#ifndef MOE_CODEGEN_CUDA_KERNELPARTS_H
#define MOE_CODEGEN_CUDA_KERNELPARTS_H

// What several kernels of a layer are made of.

#include "codegen/CUDA/CudaBuilder.h"
#include "codegen/CUDA/LayerShape.h"

namespace moe::cuda {
/// Element `index` of i32 numbers, as an index.
Num at32(CudaBuilder &k, Num base, Num index);

mlir::Type typeOf(CudaBuilder &k, Element element);

/// `body(i)` for i = first, first + all... below `count`. All threads turn
/// equally often.
void forShare(CudaBuilder &k, Num count, Num first, Num all,
              llvm::function_ref<void(Num)> body);
/// `body(i)` for i below `count`, divided among all threads of the grid, of
/// blocks of kLayerThreads.
void forEach(CudaBuilder &k, Num count, llvm::function_ref<void(Num)> body);
/// The same divided among warps: all lanes of one are in `body` together.
void forEachWarp(CudaBuilder &k, Num count, llvm::function_ref<void(Num)> body);
/// The same divided among blocks.
void forEachBlock(CudaBuilder &k, Num count,
                  llvm::function_ref<void(Num)> body);
/// What one of two ways gives.
KernelBuilder::Nums either(CudaBuilder &k, Num condition,
                           llvm::function_ref<KernelBuilder::Nums()> yes,
                           llvm::function_ref<KernelBuilder::Nums()> no);
/// Rounds rows of f32 to `element` rows of `paddedInputs`: the share of thread
/// `first` of `all`, multiples of warps.
void roundRows(CudaBuilder &k, const LayerShape &shape, Num x, Num tokens,
               Num rounded, Num first, Num all);
/// What `join`, of any order, makes of the values (of 32 bits) that `lanes`
/// neighbouring lanes have, a power of two.
Num ofLanes(CudaBuilder &k, Num value, int64_t lanes,
            llvm::function_ref<Num(Num, Num)> join);
/// The same of all threads of a block, which meet for it; it has the first 32
/// bytes of shared memory.
Num ofBlock(CudaBuilder &k, Num value, llvm::function_ref<Num(Num, Num)> join);
/// What the lanes say that is largest; NaN is passed over.
Num warpMax(CudaBuilder &k, Num value);
/// The value of lane `lane`, an index.
Num ofLane(CudaBuilder &k, Num value, Num lane);

/// The activation of an expert, of f32.
Num activate(CudaBuilder &k, const LayerShape &shape, Num x);
/// The same of a gated one: of a value of the gate and one beside it.
Num activateGlu(CudaBuilder &k, const LayerShape &shape, Num gate, Num linear);

/// The row of the first product's left side for number `place` of the sorted
/// slots.
Num inputRow(CudaBuilder &k, const LayerShape &shape, Num order, Num place);

/// The matrix of a layer that a kernel multiplies with. Kernels take what
/// belongs to it after their other arguments: scales and zeros of a quantised
/// one, biases, then what multiplies the rows of the left side.
struct ExpertMatrix {
  Element element;
  bool tf32;
  std::optional<rt::CodedRows> coded;
  bool hasBias;
  int64_t depth; ///< of rows of the left side, a multiple of 8
  int64_t codedDepth;
  int64_t rows; ///< of an expert, a multiple of 16
  /// Weights of slots multiply rows of the left side. It is their products that
  /// are multiplied, which is the same: rows are those of tokens, rounded once.
  bool hasWeights = false;
  /// Rows of the left side, where these are E4M3 numbers.
  std::optional<ByteRows> bytes = std::nullopt;
  Num values = {}, scales = {}, zeros = {}, bias = {}, weights = {};

  static ExpertMatrix up(const LayerShape &shape);
  static ExpertMatrix down(const LayerShape &shape);
  /// The same where hidden values are `element`s in any case.
  static ExpertMatrix plainDown(const LayerShape &shape);

  /// The types of a kernel that takes `own` pointers otherwise.
  llvm::SmallVector<mlir::Type> arguments(mlir::MLIRContext *context,
                                          unsigned own) const;
  /// Finds its parts among them.
  void take(llvm::ArrayRef<Num> arguments, unsigned values, unsigned own);
  int64_t tiles() const { return rows / 16; }
  /// Of rows that are bytes: the depth, 32 to 128, in which neither scale
  /// changes.
  int64_t byteDepth() const;
  /// The weight of number `place` of the sorted slots; nothing where there are
  /// none.
  Num weightOf(CudaBuilder &k, Num order, Num place) const;
  /// `sum`, times the weight of its slot if there is one, plus the bias of a
  /// row of an expert.
  Num biased(CudaBuilder &k, Num sum, Num expert, Num row,
             Num weight = {}) const;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_KERNELPARTS_H
