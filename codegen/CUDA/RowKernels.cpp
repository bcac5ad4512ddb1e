// Kernels that go through the rows of a layer's input and output.
#include "codegen/CUDA/ByteScale.h"
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"
#include "codegen/CUDA/TileShapes.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

using Nums = KernelBuilder::Nums;

/// Numbers that a thread reads at once: 16 bytes where rows begin at multiples
/// of it.
static int64_t atOnce(int64_t width) { return width % 4 ? 1 : 4; }

static Nums read(CudaBuilder &k, Num base, Num at, int64_t count) {
  if (count == 1)
    return {k.load(k.f32(), base, at)};
  Num four = k.load(k.vector(count, k.f32()), base, at);
  Nums numbers;
  for (int64_t i = 0; i < count; ++i)
    numbers.push_back(k.extract(four, i));
  return numbers;
}

static void write(CudaBuilder &k, ArrayRef<Num> numbers, Num base, Num at) {
  k.store(numbers.size() == 1 ? numbers[0] : k.pack(numbers), base, at);
}

/// Writes the sums, plus numbers of `residual` where `isAdded` is not 0.
static void writeSums(CudaBuilder &k, Nums sums, Num residual, Num isAdded,
                      Num out, Num at) {
  auto add = [&] {
    Nums more = sums;
    for (auto [sum, other] :
         llvm::zip(more, read(k, residual, at, sums.size())))
      sum = other + sum;
    return more;
  };
  write(k, either(k, isAdded == 0, [&] { return sums; }, add), out, at);
}

void moe::cuda::emitFinish(ModuleOp module, StringRef name,
                           const LayerShape &shape) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  Type i32 = IntegerType::get(context, 32);
  int64_t step = atOnce(shape.outputs), groups = shape.outputs / step;
  CudaBuilder::kernel(
      module, name, {pointer, i32, pointer, pointer, i32}, kLayerThreads, 0,
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num tokens = k.convert(arguments[1], k.i64());
        forEach(k, tokens * groups, [&](Num i) {
          Num at = i / groups * shape.paddedOutputs() + i % groups * step;
          writeSums(k, read(k, arguments[0], at, step), arguments[3],
                    arguments[4], arguments[2], i * step);
        });
      });
}

void moe::cuda::emitCombine(ModuleOp module, StringRef name,
                            const LayerShape &shape) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  Type i32 = IntegerType::get(context, 32);
  int64_t step = atOnce(shape.outputs), groups = shape.outputs / step;
  CudaBuilder::kernel(
      module, name, {pointer, pointer, pointer, i32, pointer, pointer, i32},
      kLayerThreads, 0, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num rows = arguments[0], place = arguments[1], weights = arguments[2];
        Num tokens = k.convert(arguments[3], k.i64()), zero = k.integer(0);
        forEach(k, tokens * groups, [&](Num i) {
          Num token = i / groups, output = i % groups * step;
          Nums sums(step, k.real(0));
          // Without branches, so that all are read at once: what has no place
          // reads the first row, and adds nothing.
          for (int64_t choice = 0; choice < shape.topK; ++choice) {
            Num slot = token * shape.topK + choice;
            Num at = at32(k, place, slot), isNone = at < zero;
            Num row = k.select(isNone, zero, at) * shape.paddedOutputs();
            Num weight = shape.scaleInput // it has done its work
                             ? k.real(1)
                             : k.load(k.f32(), weights, slot);
            if (shape.outputScale != 1)
              weight = weight * k.real(shape.outputScale);
            for (auto [sum, value] :
                 llvm::zip(sums, read(k, rows, row + output, step)))
              sum = k.select(isNone, sum, sum + weight * value);
          }
          writeSums(k, sums, arguments[5], arguments[6], arguments[4],
                    i * step);
        });
      });
}

/// The same to rows of E4M3 numbers. So many lanes as a block has groups of 8
/// share it.
static void roundToBytes(CudaBuilder &k, const LayerShape &shape, Num x,
                         Num tokens, Num rounded, Num first, Num all) {
  constexpr int64_t each = RoundShape::kNumbers;
  const ByteRows rows = *shape.inputBytes();
  int64_t step = atOnce(shape.inputs), groups = rows.codes() / each;
  int64_t lanes = rows.block / each;
  Num count = tokens * groups;
  forShare(k, k.ceilDiv(count, 32) * 32, first, all, [&](Num i) {
    Num group = k.min(i, count - 1);
    Num token = group / groups, begin = group % groups * each;
    Nums numbers;
    for (int64_t part = 0; part < each; part += step) {
      Num at = begin + part, isThere = at < k.integer(shape.inputs);
      Num from = k.select(isThere, token * shape.inputs + at, k.integer(0));
      for (Num number : read(k, x, from, step))
        numbers.push_back(k.select(isThere, number, k.real(0)));
    }
    ByteScale scale(k, ByteScale::largest(k, numbers, lanes));
    k.when(i < count, [&] {
      Num row = token * (rows.bytes() / 4);
      k.store(k.pack(scale.codes(numbers)), rounded, row + begin / 4);
      k.when(begin % rows.block == k.integer(0), [&] {
        k.store(scale.scale, rounded,
                row + (begin / rows.block + rows.codes() / 4));
      });
    });
  });
}

void moe::cuda::roundRows(CudaBuilder &k, const LayerShape &shape, Num x,
                          Num tokens, Num rounded, Num first, Num all) {
  if (shape.inputBytes())
    return roundToBytes(k, shape, x, tokens, rounded, first, all);
  constexpr int64_t ahead = RoundShape::kAhead;
  constexpr int64_t each = RoundShape::kNumbers / ahead;
  int64_t step = atOnce(shape.inputs), groups = shape.paddedInputs() / each;
  Num count = tokens * groups;
  // What a warp reads at once lies together.
  auto groupOf = [&](Num i, int64_t a) {
    return i / 32 * (32 * ahead) + i % 32 + 32 * a;
  };
  forShare(k, k.ceilDiv(count, 32 * ahead) * 32, first, all, [&](Num i) {
    SmallVector<Nums> found;
    for (int64_t a = 0; a < ahead; ++a) {
      Num known = k.min(groupOf(i, a), count - 1);
      Num token = known / groups, begin = known % groups * each;
      Nums &numbers = found.emplace_back();
      for (int64_t part = 0; part < each; part += step) {
        // Behind the inputs are zeros; the first number is always there.
        Num at = begin + part, isThere = at < k.integer(shape.inputs);
        Num from = k.select(isThere, token * shape.inputs + at, k.integer(0));
        for (Num number : read(k, x, from, step))
          numbers.push_back(k.convert(k.select(isThere, number, k.real(0)),
                                      typeOf(k, shape.element)));
      }
    }
    for (int64_t a = 0; a < ahead; ++a) {
      Num group = groupOf(i, a);
      k.when(group < count, [&] { write(k, found[a], rounded, group * each); });
    }
  });
}

void moe::cuda::emitRound(ModuleOp module, StringRef name,
                          const LayerShape &shape) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  CudaBuilder::kernel(
      module, name, {pointer, IntegerType::get(context, 32), pointer},
      kLayerThreads, 0, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        roundRows(k, shape, arguments[0], k.convert(arguments[1], k.i64()),
                  arguments[2], k.block() * kLayerThreads + k.thread(),
                  k.grid() * kLayerThreads);
      });
}
