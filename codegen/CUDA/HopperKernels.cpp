// A MoE layer for more than few tokens on sm_90a.
#include "codegen/CUDA/HopperBytes.h"
#include "codegen/CUDA/HopperTile.h"
#include "codegen/CUDA/LayerKernels.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

bool moe::cuda::hasHopperUp(const LayerShape &shape) {
  // Hidden values become bytes where a tile has as many rows as share a scale,
  // and slots are columns: where the matrix is quantised.
  return HopperTile::isSupported(ExpertMatrix::up(shape)) &&
         (shape.upCoded || !shape.hiddenBytes());
}

bool moe::cuda::hasHopperDown(const LayerShape &shape) {
  return HopperTile::isSupported(ExpertMatrix::down(shape));
}

static SmallVector<Type> argumentTypes(const ExpertMatrix &matrix,
                                       MLIRContext *context, unsigned own) {
  SmallVector<Type> types = matrix.arguments(context, own);
  if (!matrix.coded)
    types[1] = LLVM::LLVMPointerType::get(context, moegpu::kTensorMap);
  return types;
}

namespace {
/// Hidden values go through shared memory, where they get from the threads
/// that computed them to those that write 16 bytes of a row: 64 neurons of 64
/// slots at a time, by each warpgroup.
class HiddenRows {
public:
  static constexpr int64_t kNeurons = 64, kSlots = 64, kRowBytes = 2 * kNeurons;
  static constexpr int64_t kBytes = 2 * kSlots * kRowBytes;

  HiddenRows(CudaBuilder &k, HopperTile &tile, const ExpertMatrix &up,
             const LayerShape &shape, Num order, Num hidden)
      : k(k), tile(tile), up(up), shape(shape), hidden(hidden), own(k, tile),
        toHidden{k, up, shape, order} {}

  void put(const HopperWork &work, Num sums) {
    work.form.slotsAreColumns ? putColumns(work, sums) : putRows(work, sums);
  }

private:
  /// Rows of the matrix that become 8 neurons.
  int64_t rowsOfEight() const { return shape.isGlu ? 16 : 8; }
  Num neuronOf(Num row) { return row / (rowsOfEight() / 8); }
  Num element(Num value) { return k.convert(value, typeOf(k, shape.element)); }
  /// 16 bytes of a slot. Threads that write or read together find them in
  /// different banks.
  Num place(Num slot, Num chunk) {
    Num turn = slot % 2 * 4 + slot / 2 % 4;
    return k.at(k.b.getI8Type(), tile.spareOf(),
                slot * kRowBytes + k.exclusiveOr(chunk, turn) * 16);
  }
  /// Rows beyond the matrix are not kept, whatever they are.
  Num biasOf(const HopperWork &work, Num row) {
    return k.load(k.f32(), up.bias,
                  work.expert * up.rows + k.min(row, k.integer(up.rows - 1)));
  }

  void putRows(const HopperWork &work, Num sums);
  void putColumns(const HopperWork &work, Num sums);
  void computeRows(const HopperWork &work, Num sums, ArrayRef<Num> weights,
                   int64_t eight);
  void computeColumns(const HopperWork &work, Num sums, int64_t first);
  void write(const HopperWork &work, Num firstSlot, Num firstNeuron,
             int64_t count);

  CudaBuilder &k;
  HopperTile &tile;
  const ExpertMatrix &up;
  const LayerShape &shape;
  Num hidden;
  OwnSums own;
  OwnHidden toHidden;
};
} // namespace

/// Of slots that are rows of the product: two neurons of two slots, of the
/// tile's group `eight`; `weights` are those of the slots, if there are any.
void HiddenRows::computeRows(const HopperWork &work, Num sums,
                             ArrayRef<Num> weights, int64_t eight) {
  // Sums of two neighbouring columns and rows 8 apart.
  auto four = [&](int64_t column) {
    Nums made;
    for (int64_t i = 0; i < 4; ++i) {
      Num sum = k.extract(sums, OwnSums::number(column / 8, 0, i));
      made.push_back(up.hasWeights ? sum * weights[i / 2] : sum);
    }
    for (int64_t c = 0; up.hasBias && c < 2; ++c) {
      Num bias = biasOf(work, work.firstRow + (column + c) + own.pair);
      for (int64_t half = 0; half < 4; half += 2)
        made[half + c] = made[half + c] + bias;
    }
    return made;
  };
  Nums gate = four(eight * rowsOfEight()), linear;
  if (shape.isGlu)
    linear = four(eight * rowsOfEight() + 8);
  for (int64_t half = 0; half < 2; ++half) {
    Nums values;
    for (int64_t i = half * 2; i < half * 2 + 2; ++i)
      values.push_back(element(shape.isGlu
                                   ? activateGlu(k, shape, gate[i], linear[i])
                                   : activate(k, shape, gate[i])));
    k.store(k.pack(values),
            place(own.row + half * 8, k.integer(eight % (kNeurons / 8))),
            own.pair);
  }
}

void HiddenRows::putRows(const HopperWork &work, Num sums) {
  int64_t neurons = work.form.rows * 8 / rowsOfEight();
  Nums weights;
  for (int64_t half = 0; half < 2; ++half)
    weights.push_back(toHidden.weightOf(work, work.firstSlot + tile.groupRow() +
                                                  own.row + half * 8));
  for (int64_t first = 0; first < neurons; first += kNeurons) {
    int64_t count = std::min(kNeurons, neurons - first);
    // Nobody reads what was there.
    tile.meet();
    for (int64_t eight = first / 8; eight < (first + count) / 8; ++eight)
      computeRows(work, sums, weights, eight);
    tile.meet();
    write(work, work.firstSlot + tile.groupRow(),
          neuronOf(work.firstRow) + first, count);
  }
}

/// Of 64 slots that are columns: gate and linear value of a neuron are 8 rows
/// apart.
void HiddenRows::computeColumns(const HopperWork &work, Num sums,
                                int64_t first) {
  Num row = work.firstRow + tile.groupRow() + own.row;
  Nums bias;
  if (up.hasBias)
    bias = {biasOf(work, row), biasOf(work, row + 8)};
  Num warp = tile.inGroup() / 32, neuron = k.lane() / 4;
  for (int64_t eight = first / 8; eight < (first + kSlots) / 8; ++eight)
    k.when(work.firstSlot + eight * 8 < work.count, [&] {
      for (int64_t c = 0; c < 2; ++c) {
        Num ofTile = own.pair + (eight * 8 + c),
            slot = ofTile - k.integer(first);
        Nums made = toHidden.values(
            sums, eight, c, toHidden.weightOf(work, work.firstSlot + ofTile),
            bias);
        // A warp has 8 neurons of gated ones, 16 of others.
        int64_t ofWarp = shape.isGlu ? 1 : 2;
        for (int64_t half = 0; half < ofWarp; ++half)
          k.store(element(made[half]), place(slot, warp * ofWarp + half),
                  neuron);
      }
    });
}

void HiddenRows::putColumns(const HopperWork &work, Num sums) {
  for (int64_t first = 0; first < work.form.slots; first += kSlots)
    k.when(work.firstSlot + first < work.count, [&] {
      tile.meet();
      computeColumns(work, sums, first);
      tile.meet();
      write(work, work.firstSlot + first,
            neuronOf(work.firstRow + tile.groupRow()),
            HopperTile::kGroupRows * 8 / rowsOfEight());
    });
}

/// `count` neurons of the warpgroup's slots, 16 bytes a thread.
void HiddenRows::write(const HopperWork &work, Num firstSlot, Num firstNeuron,
                       int64_t count) {
  int64_t across = llvm::PowerOf2Ceil(count / 8);
  int64_t atOnce = HopperTile::kGroupThreads / across;
  VectorType eight = k.vector(8, typeOf(k, shape.element));
  Num chunk = tile.inGroup() % across;
  Num neuron = firstNeuron + chunk * 8;
  Num isOurs = neuron < k.integer(shape.paddedHidden());
  if (across != count / 8)
    isOurs = isOurs & (chunk < k.integer(count / 8));
  k.when(isOurs, [&] {
    for (int64_t i = 0; i < kSlots / atOnce; ++i) {
      Num row = tile.inGroup() / across + k.integer(i * atOnce);
      Num slot = firstSlot + row;
      k.when(slot < work.count, [&] {
        k.store(k.load(eight, place(row, chunk), k.integer(0)), hidden,
                (work.begin + slot) * shape.paddedHidden() + neuron);
      });
    }
  });
}

void moe::cuda::emitHopperUp(ModuleOp module, StringRef name,
                             const LayerShape &shape, int64_t mostSome) {
  ExpertMatrix up = ExpertMatrix::up(shape);
  int64_t spare =
      shape.hiddenBytes() ? HiddenBytes::bytes(shape) : HiddenRows::kBytes;
  CudaBuilder::kernel(
      module, name, argumentTypes(up, module.getContext(), 7),
      HopperTile::kThreads, HopperTile::sharedBytes(up, spare),
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        up.take(arguments, 1, 7);
        Num order = arguments[2], hidden = arguments[6];
        HopperTile tile(k, up, mostSome, spare);
        auto put = [&](const HopperWork &work, Num sums) {
          if (shape.hiddenBytes())
            return HiddenBytes(k, tile, up, shape, order, hidden)
                .put(work, sums);
          HiddenRows(k, tile, up, shape, order, hidden).put(work, sums);
        };
        tile.run(
            arguments[0], arguments.slice(3, 3),
            [&](const HopperWork &work, Num slot) {
              return inputRow(k, shape, order, work.begin + slot);
            },
            put);
      });
}

namespace {
/// f32 rows of the second product: lanes that write together fill sectors.
struct OutputRows {
  void put(const HopperWork &work, Num sums) {
    work.form.slotsAreColumns ? putColumns(work, sums) : putRows(work, sums);
  }
  /// The place of an output of a slot.
  Num at(const HopperWork &work, Num slot, Num output) {
    return (work.begin + slot) * down.rows + output;
  }

  void putRows(const HopperWork &work, Num sums) {
    for (int64_t half = 0; half < 2; ++half) {
      Num slot = work.firstSlot + tile.groupRow() + own.row + half * 8;
      k.when(slot < work.count, [&] {
        for (int64_t c = 0; c < work.form.rows; c += 8) {
          Num output = work.firstRow + c + own.pair;
          k.when(output < k.integer(down.rows), [&] {
            Nums two;
            for (int64_t i = 0; i < 2; ++i)
              two.push_back(down.biased(
                  k, k.extract(sums, OwnSums::number(c / 8, half, i)),
                  work.expert, output + i));
            k.store(k.pack(two), rows, at(work, slot, output));
          });
        }
      });
    }
  }

  void putColumns(const HopperWork &work, Num sums) {
    for (int64_t half = 0; half < 2; ++half) {
      Num output = work.firstRow + tile.groupRow() + own.row + half * 8;
      k.when(output < k.integer(down.rows), [&] {
        Num bias = down.biased(k, k.real(0), work.expert, output);
        for (int64_t eight = 0; eight < work.form.slots / 8; ++eight)
          for (int64_t c = 0; c < 2; ++c) {
            Num slot = work.firstSlot + own.pair + (eight * 8 + c);
            k.when(slot < work.count, [&] {
              k.store(k.extract(sums, OwnSums::number(eight, half, c)) + bias,
                      rows, at(work, slot, output));
            });
          }
      });
    }
  }

  CudaBuilder &k;
  HopperTile &tile;
  const ExpertMatrix &down;
  Num rows;
  OwnSums own;
};
} // namespace

void moe::cuda::emitHopperDown(ModuleOp module, StringRef name,
                               const LayerShape &shape, int64_t mostSome) {
  ExpertMatrix down = ExpertMatrix::down(shape);
  CudaBuilder::kernel(
      module, name, argumentTypes(down, module.getContext(), 6),
      HopperTile::kThreads, HopperTile::sharedBytes(down, 0),
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        down.take(arguments, 1, 6);
        HopperTile tile(k, down, mostSome, 0);
        OutputRows rows = {k, tile, down, arguments[5], OwnSums(k, tile)};
        tile.run(
            arguments[0], arguments.slice(2, 3),
            [&](const HopperWork &work, Num slot) { return work.begin + slot; },
            [&](const HopperWork &work, Num sums) { rows.put(work, sums); });
      });
}
