#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/OpWriter.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

/// Rows of at least so many numbers are shared by all warps of a block.
static constexpr int64_t kLongRow = 1024;

namespace {
/// The threads that share a row: a warp, or those of a block.
struct Team {
  CudaBuilder &k;
  Num rank; ///< of a thread
  int64_t size;

  explicit Team(CudaBuilder &k, OpWriter::Size length)
      : k(k),
        size(length.constant.value_or(0) >= kLongRow ? kLayerThreads : 32) {
    rank = size == 32 ? k.lane() : k.thread();
  }
  void forRows(Num rows, llvm::function_ref<void(Num)> body) const {
    if (size == 32)
      return forEachWarp(k, rows, body);
    forEachBlock(k, rows, body);
  }
  Num sum(Num value) const;
  /// The sum of `term(i)` for i below `count`.
  Num sumOf(Num count, llvm::function_ref<Num(Num)> term) const;
};
} // namespace

Num Team::sum(Num value) const {
  return size == 32 ? k.warpSum(value)
                    : ofBlock(k, value, [](Num x, Num y) { return x + y; });
}

Num Team::sumOf(Num count, llvm::function_ref<Num(Num)> term) const {
  // Several loads are under way at a time.
  constexpr int64_t abreast = 4;
  Num step = k.integer(size * abreast), whole = count / step * step;
  Num zero = k.real(0);
  KernelBuilder::Nums sums = k.loop(
      k.integer(0), whole, size * abreast, KernelBuilder::Nums(abreast, zero),
      [&](Num first, ArrayRef<Num> carried) {
        KernelBuilder::Nums next;
        for (int64_t j = 0; j < abreast; ++j)
          next.push_back(carried[j] + term(first + rank + j * size));
        return next;
      });
  Num rest = k.loop(whole + rank, count, size, {zero},
                    [&](Num i, ArrayRef<Num> carried) -> KernelBuilder::Nums {
                      return {carried[0] + term(i)};
                    })[0];
  for (Num sum : sums)
    rest = rest + sum;
  return sum(rest);
}

/// out = (x - mean) / sqrt(mean of squares + epsilon) * scale (+ bias).
static MadeKernel norm(OpWriter &w, StringRef family, Value x, Value scale,
                       Value bias, Value out, double epsilon, bool isCentred) {
  using Elements = OpWriter::Elements;
  auto from = w.memory(x, Elements::Real, "x");
  auto scales = w.memory(scale, Elements::Real, "scale");
  OpWriter::Memory biases;
  if (bias)
    biases = w.memory(bias, Elements::Real, "bias");
  auto to = w.memory(out, Elements::Real, "the destination");
  if (w.isRefused())
    return std::nullopt;
  OpWriter::Size length = from.sizes.back();
  return w.write(family, kLayerThreads / 32 * 4, [&](CudaBuilder &k) {
    Team team(k, length);
    Num n = w.size(length), real = k.convert(n, k.f32());
    team.forRows(w.count(from, 1), [&](Num row) {
      Num first = row * n, mean = k.real(0);
      if (isCentred)
        mean = team.sumOf(n, [&](Num i) {
          return w.readReal(from, first + i);
        }) / real;
      auto distance = [&](Num i) {
        Num value = w.readReal(from, first + i);
        return isCentred ? value - mean : value;
      };
      Num squares = team.sumOf(n, [&](Num i) {
        Num d = distance(i);
        return d * d;
      });
      Num ratio = k.real(1) / k.sqrt(squares / real + epsilon);
      k.loop(team.rank, n, team.size, [&](Num i) {
        Num value = distance(i) * ratio * w.readReal(scales, i);
        if (bias)
          value = value + w.readReal(biases, i);
        w.writeReal(value, to, first + i);
      });
    });
  });
}

MadeKernel moe::cuda::normKernel(OpWriter &w, moert::RmsNormOp op) {
  return norm(w, "rms_norm", op.getX(), op.getScale(), Value(), op.getOuts(),
              op.getEpsilon().convertToDouble(), false);
}

MadeKernel moe::cuda::normKernel(OpWriter &w, moert::LayerNormOp op) {
  return norm(w, "layer_norm", op.getX(), op.getScale(), op.getBias(),
              op.getOuts(), op.getEpsilon().convertToDouble(), true);
}
