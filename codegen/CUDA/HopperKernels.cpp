// A MoE layer for many tokens on sm_90a.
#include "codegen/CUDA/HopperTile.h"
#include "codegen/CUDA/LayerKernels.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

bool moe::cuda::hasHopperUp(const LayerShape &shape) {
  return HopperTile::isSupported(ExpertMatrix::up(shape));
}

bool moe::cuda::hasHopperDown(const LayerShape &shape) {
  return HopperTile::isSupported(ExpertMatrix::down(shape));
}

static SmallVector<Type> argumentTypes(const ExpertMatrix &matrix,
                                       MLIRContext *context, unsigned own) {
  SmallVector<Type> types = matrix.arguments(context, own);
  types[1] = LLVM::LLVMPointerType::get(context, moegpu::kTensorMap);
  return types;
}

namespace {
/// Hidden values go through shared memory, where they get from the threads
/// that computed them to those that write 16 bytes of a row: 64 neurons at a
/// time, of the 64 rows of a warpgroup.
class HiddenRows {
public:
  static constexpr int64_t kNeurons = 64, kRowBytes = 2 * kNeurons;
  static constexpr int64_t kBytes = HopperTile::kRows * kRowBytes;

  HiddenRows(CudaBuilder &k, HopperTile &tile, const ExpertMatrix &up,
             const LayerShape &shape)
      : k(k), tile(tile), up(up), shape(shape) {}

  void put(const HopperWork &work, Num sums, Num hidden);

private:
  /// Columns of the tile that become 8 neurons.
  int64_t columnsOfEight() const { return shape.isGlu ? 16 : 8; }
  Num place(Num row, Num chunk) {
    return row * kRowBytes + k.exclusiveOr(chunk, row % 8) * 16;
  }
  void compute(const HopperWork &work, Num sums, int64_t eight);
  void write(const HopperWork &work, int64_t first, int64_t count, Num hidden);

  CudaBuilder &k;
  HopperTile &tile;
  const ExpertMatrix &up;
  const LayerShape &shape;
};
} // namespace

/// Of the thread's sums, those of two rows and two neurons of the `eight`-th
/// group, into shared memory.
void HiddenRows::compute(const HopperWork &work, Num sums, int64_t eight) {
  Num lane = k.lane();
  Num pair = lane % 4 * 2;
  // Sums of two neighbouring columns and rows 8 apart.
  auto four = [&](int64_t tileColumn) {
    Nums made;
    for (int64_t i = 0; i < 4; ++i)
      made.push_back(k.extract(sums, tileColumn / 8 * 4 + i));
    if (!up.hasBias)
      return made;
    for (int64_t c = 0; c < 2; ++c) {
      // Columns beyond the matrix are not kept, whatever they are.
      Num row = k.min(work.firstColumn + (tileColumn + c) + pair,
                      k.integer(up.rows - 1));
      Num bias = k.load(k.f32(), up.bias, work.expert * up.rows + row);
      for (int64_t half = 0; half < 4; half += 2)
        made[half + c] = made[half + c] + bias;
    }
    return made;
  };
  Nums gate = four(eight * columnsOfEight()), linear;
  if (shape.isGlu)
    linear = four(eight * columnsOfEight() + 8);
  Type element = typeOf(k, shape.element);
  Num row = tile.inGroup() / 32 * 16 + lane / 4;
  for (int64_t half = 0; half < 2; ++half) {
    Nums values;
    for (int64_t i = half * 2; i < half * 2 + 2; ++i)
      values.push_back(k.convert(shape.isGlu
                                     ? activateGlu(k, shape, gate[i], linear[i])
                                     : activate(k, shape, gate[i]),
                                 element));
    Num chunk = k.integer(eight % (kNeurons / 8));
    Num to = k.at(k.b.getI8Type(), tile.spareOf(),
                  place(row + half * 8, chunk) + pair * 2);
    k.store(k.pack(values), to, k.integer(0));
  }
}

/// `count` neurons from the tile's number `first` on, 16 bytes a thread.
void HiddenRows::write(const HopperWork &work, int64_t first, int64_t count,
                       Num hidden) {
  int64_t across = llvm::PowerOf2Ceil(count / 8);
  int64_t atOnce = HopperTile::kGroupThreads / across;
  VectorType eight = k.vector(8, typeOf(k, shape.element));
  Num chunk = tile.inGroup() % across;
  Num neuron = work.firstColumn / (columnsOfEight() / 8) + first + chunk * 8;
  Num isOurs = neuron < k.integer(shape.paddedHidden());
  if (across != count / 8)
    isOurs = isOurs & (chunk < k.integer(count / 8));
  k.when(isOurs, [&] {
    for (int64_t i = 0; i < HopperTile::kGroupRows / atOnce; ++i) {
      Num row = tile.inGroup() / across + k.integer(i * atOnce);
      Num slot = work.firstSlot + tile.groupRow() + row;
      k.when(slot < work.count, [&] {
        Num values = k.load(
            eight, k.at(k.b.getI8Type(), tile.spareOf(), place(row, chunk)),
            k.integer(0));
        k.store(values, hidden,
                (work.begin + slot) * shape.paddedHidden() + neuron);
      });
    }
  });
}

void HiddenRows::put(const HopperWork &work, Num sums, Num hidden) {
  int64_t neurons = tile.columns * 8 / columnsOfEight();
  for (int64_t first = 0; first < neurons; first += kNeurons) {
    int64_t count = std::min(kNeurons, neurons - first);
    // Nobody reads what was there.
    tile.meet();
    for (int64_t eight = first / 8; eight < (first + count) / 8; ++eight)
      compute(work, sums, eight);
    tile.meet();
    write(work, first, count, hidden);
  }
}

void moe::cuda::emitHopperUp(ModuleOp module, StringRef name,
                             const LayerShape &shape) {
  ExpertMatrix up = ExpertMatrix::up(shape);
  CudaBuilder::kernel(
      module, name, argumentTypes(up, module.getContext(), 7),
      HopperTile::kThreads, HopperTile::sharedBytes(up, HiddenRows::kBytes),
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        up.take(arguments, 1, 7);
        HopperTile tile(k, up, HiddenRows::kBytes);
        HiddenRows rows(k, tile, up, shape);
        tile.run(
            arguments[0], arguments.slice(3, 3),
            [&](const HopperWork &work, Num slot) {
              return at32(k, arguments[2], work.begin + slot) / shape.topK;
            },
            [&](const HopperWork &work, Num sums) {
              rows.put(work, sums, arguments[6]);
            });
      });
}

void moe::cuda::emitHopperDown(ModuleOp module, StringRef name,
                               const LayerShape &shape) {
  ExpertMatrix down = ExpertMatrix::down(shape);
  CudaBuilder::kernel(
      module, name, argumentTypes(down, module.getContext(), 6),
      HopperTile::kThreads, HopperTile::sharedBytes(down, 0),
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        down.take(arguments, 1, 6);
        HopperTile tile(k, down, 0);
        // Four lanes write a whole sector of a row.
        auto put = [&](const HopperWork &work, Num sums) {
          Num lane = k.lane(), pair = lane % 4 * 2;
          Num row = tile.groupRow() + tile.inGroup() / 32 * 16 + lane / 4;
          for (int64_t half = 0; half < 2; ++half) {
            Num slot = work.firstSlot + row + half * 8;
            k.when(slot < work.count, [&] {
              for (int64_t c = 0; c < tile.columns; c += 8) {
                Num column = work.firstColumn + c + pair;
                k.when(column < k.integer(down.rows), [&] {
                  Nums two;
                  for (int64_t i = 0; i < 2; ++i)
                    two.push_back(
                        down.biased(k, k.extract(sums, c / 2 + half * 2 + i),
                                    work.expert, column + i));
                  k.store(k.pack(two), arguments[5],
                          (work.begin + slot) * down.rows + column);
                });
              }
            });
          }
        };
        tile.run(
            arguments[0], arguments.slice(2, 3),
            [&](const HopperWork &work, Num slot) { return work.begin + slot; },
            put);
      });
}
