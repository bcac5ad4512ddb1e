#ifndef MOE_CODEGEN_CUDA_LAYERKERNELS_H
#define MOE_CODEGEN_CUDA_LAYERKERNELS_H

#include "codegen/CUDA/LayerShape.h"
#include "codegen/CUDA/TileShapes.h"
#include "mlir/IR/BuiltinOps.h"

// Rows of `x`, `residual` and `out` begin at multiples of 16 bytes where they
// have multiples of four numbers: they are read and written by so many.
//
// Kernels that multiply take more arguments at the end where the shape asks for
// them: the scales of a quantised matrix, its zeros, the biases and, the first
// of a layer whose weights scale inputs, these: [T, topK] f32.

namespace moe::cuda {
/// Sorts the slots of `ids` by expert, in the first block, and rounds inputs,
/// as `emitRound` does, in the others: `name(ids, entries, T, offsets, order,
/// place, active, activeCount, x, rounded)`.
///
/// - `ids` [T, topK] i32: entries of the pool; negative: none
/// - `entries` [number of entries] i32: the expert of an entry, or -1 where it
///   has none (a null expert); aliases name their target's
/// - `offsets` [experts + 1] i32: where the slots of an expert begin
/// - `order` [T * topK] i32: the slots (token * topK + choice) by expert, and
///   within it by slot
/// - `place` [T * topK] i32: where a slot is in `order`, or -1
/// - `active` [experts], `activeCount` [1] i32: experts that have slots, those
///   with more than `HopperShape::kSomeSlots` first
///
/// The result does not depend on the order in which threads run.
void emitPrepare(mlir::ModuleOp module, llvm::StringRef name,
                 const LayerShape &shape, int64_t entries);

/// Rounds rows of f32 to `element` rows of `paddedInputs`: `name(x, T,
/// rounded)`.
void emitRound(mlir::ModuleOp module, llvm::StringRef name,
               const LayerShape &shape);

/// hidden = activation(gate x) * (up x) of every slot: `name(rounded, up,
/// order, offsets, active, activeCount, hidden)`, `hidden` [T * topK,
/// paddedHidden] of `element` in sorted order. Weights that scale inputs
/// multiply the sums of products, before biases.
void emitDecodeUp(mlir::ModuleOp module, llvm::StringRef name,
                  const LayerShape &shape);

/// rows = down hidden of every slot: `name(hidden, down, offsets, active,
/// activeCount, rows)`, `rows` [T * topK, paddedOutputs] f32 in sorted order.
void emitDecodeDown(mlir::ModuleOp module, llvm::StringRef name,
                    const LayerShape &shape);

/// The same two for many tokens, with the same arguments; they need sm_80
/// alone.
void emitGroupedUp(mlir::ModuleOp module, llvm::StringRef name,
                   const LayerShape &shape);
void emitGroupedDown(mlir::ModuleOp module, llvm::StringRef name,
                     const LayerShape &shape);

/// The same two on sm_90a. In place of the pointer to a matrix that is not
/// quantised they take its tensor map: three dimensions (depth, rows of an
/// expert, experts), boxes of 64 numbers, `kHopperBoxRows` rows and one expert,
/// 128-byte swizzle. `rounded` and `hidden` have fewer than 2^33 numbers. An
/// expert with up to `mostSome` slots, 64 at most, has tiles for so many,
/// others large ones; the kernel looks at `offsets`.
/// Of a quantised matrix all have those for 64, and its codes have fewer than
/// 2^35 bytes; where what it meets is bytes, too (`LayerShape::inputBytes`, `hiddenBytes`), each tile
/// of 128 slots that has up to `mostSome` of them is one for 64. Hidden values
/// may be bytes where the first matrix is quantised.
constexpr int64_t kHopperBoxRows = 64;
bool hasHopperUp(const LayerShape &shape);
bool hasHopperDown(const LayerShape &shape);
void emitHopperUp(mlir::ModuleOp module, llvm::StringRef name,
                  const LayerShape &shape,
                  int64_t mostSome = HopperShape::kSomeSlots);
void emitHopperDown(mlir::ModuleOp module, llvm::StringRef name,
                    const LayerShape &shape,
                    int64_t mostSome = HopperShape::kSomeSlots);

/// out[t] = sum over choices of weight * row, in the order of the choices (+
/// residual[t]): `name(rows, place, weights, T, out, residual, isAdded)`;
/// `weights` [T, topK] (taken as 1 where they scale inputs), `out` and
/// `residual` [T, outputs] f32; `isAdded` 0 where there is no residual.
void emitCombine(mlir::ModuleOp module, llvm::StringRef name,
                 const LayerShape &shape);

/// out[t] = row t without its padding (+ residual[t]), of a matrix alone:
/// `name(rows, T, out, residual, isAdded)`.
void emitFinish(mlir::ModuleOp module, llvm::StringRef name,
                const LayerShape &shape);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_LAYERKERNELS_H
