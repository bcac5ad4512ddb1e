// Hidden values in 8 bits on sm_90a.
#include "codegen/CUDA/HopperBytes.h"
#include "codegen/CUDA/ByteScale.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

Num OwnHidden::weightOf(const HopperWork &work, Num slot) const {
  if (!up.hasWeights)
    return {};
  slot = k.min(slot, work.count - k.integer(1));
  return up.weightOf(k, order, work.begin + slot);
}

Nums OwnHidden::values(Num sums, int64_t eight, int64_t column, Num weight,
                       ArrayRef<Num> bias) const {
  Nums two;
  for (int64_t half = 0; half < 2; ++half) {
    Num sum = k.extract(sums, OwnSums::number(eight, half, column));
    if (weight)
      sum = sum * weight;
    two.push_back(up.hasBias ? sum + bias[half] : sum);
  }
  if (shape.isGlu)
    return {activateGlu(k, shape, two[0], two[1])};
  return {activate(k, shape, two[0]), activate(k, shape, two[1])};
}

/// Four f32 numbers of a slot. Threads that write or read together find them in
/// different banks: the former have 8 neighbours of every second slot, the
/// latter every fourth chunk of one or two slots.
Num HiddenBytes::place(Num slot, Num chunk) {
  Num turn = k.exclusiveOr(slot / 2 % 4, slot % 2) * 2;
  Num moved = k.exclusiveOr(k.exclusiveOr(chunk, chunk / 8 % 4), turn);
  return k.at(k.f32(), tile.allSpare(), slot * rows.block + moved * 4);
}

/// Hidden values of 64 slots. Those of rows beyond the matrix are zero.
void HiddenBytes::compute(const HopperWork &work, Num sums, int64_t first) {
  Num row = tile.groupRow() + own.row, ofMatrix = work.firstRow + row;
  Num isThere = ofMatrix < k.integer(up.rows);
  Num known = k.min(ofMatrix, k.integer(up.rows - 9));
  Nums bias;
  for (int64_t half = 0; up.hasBias && half < 2; ++half)
    bias.push_back(
        k.load(k.f32(), up.bias, work.expert * up.rows + known + half * 8));
  for (int64_t eight = first / 8; eight < (first + kSlots) / 8; ++eight)
    k.when(work.firstSlot + eight * 8 < work.count, [&] {
      for (int64_t c = 0; c < 2; ++c) {
        Num slot = own.pair + (eight * 8 + c);
        Num weight = toHidden.weightOf(work, work.firstSlot + slot);
        auto keep = [&](Num value, Num neuron) {
          k.store(k.select(isThere, value, k.real(0)),
                  place(slot - k.integer(first), neuron / 4), neuron % 4);
        };
        Nums made = toHidden.values(sums, eight, c, weight, bias);
        if (shape.isGlu) {
          keep(made[0], row / 16 * 8 + row % 8);
          continue;
        }
        for (int64_t half = 0; half < 2; ++half)
          keep(made[half], row + half * 8);
      }
    });
}

/// A thread has 16 numbers of a slot, neighbours the others.
void HiddenBytes::write(const HopperWork &work, int64_t first) {
  int64_t across = rows.block / kNumbers;
  int64_t atOnce = 2 * HopperTile::kGroupThreads / across;
  Num part = tile.inBoth() % across, block = work.firstRow / work.form.rows;
  for (int64_t i = 0; i < kSlots / atOnce; ++i) {
    Num slot = tile.inBoth() / across + k.integer(i * atOnce);
    Num ofWork = work.firstSlot + first + slot;
    // All lanes of a warp tell each other.
    Num last = work.count - work.firstSlot - k.integer(first + 1);
    Nums numbers;
    for (int64_t chunk = 0; chunk < kNumbers / 4; ++chunk) {
      Num four = k.load(k.vector(4, k.f32()),
                        place(k.min(slot, last), part * (kNumbers / 4) + chunk),
                        k.integer(0));
      for (int64_t n = 0; n < 4; ++n)
        numbers.push_back(k.extract(four, n));
    }
    ByteScale scale(k, ByteScale::largest(k, numbers, across));
    k.when(ofWork < work.count, [&] {
      Num begin = (work.begin + ofWork) * (rows.bytes() / 4);
      k.store(k.pack(scale.codes(numbers)), hidden,
              begin + block * (rows.block / 4) + part * (kNumbers / 4));
      k.when(part == k.integer(0), [&] {
        k.store(scale.scale, hidden, begin + rows.codes() / 4 + block);
      });
    });
  }
}

void HiddenBytes::put(const HopperWork &work, Num sums) {
  for (int64_t first = 0; first < work.form.slots; first += kSlots)
    k.when(work.firstSlot + first < work.count, [&] {
      // Nobody reads what was there.
      tile.meetBoth();
      compute(work, sums, first);
      tile.meetBoth();
      write(work, first);
    });
}
