#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/OpWriter.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;

// A thread has both numbers of a pair, or one that stays: x and the destination
// may be the same.
MadeKernel moe::cuda::ropeKernel(OpWriter &w, moert::RopeOp op) {
  auto x = w.memory(op.getX(), Elements::Real, "x");
  auto cos = w.memory(op.getCos(), Elements::Real, "the table of cosines");
  auto sin = w.memory(op.getSin(), Elements::Real, "the table of sines");
  auto to = w.memory(op.getOuts(), Elements::Real, "the destination");
  if (w.isRefused())
    return std::nullopt;
  return w.write("rope", 0, [&](CudaBuilder &k) {
    Num heads = w.size(x, 2), features = w.size(x, 3), pairs = w.size(cos, 2);
    Num items = features - pairs;
    // A table of one batch row serves all.
    Num tableRows = w.count(cos, 1);
    forEach(k, w.count(x, 1) * items, [&](Num number) {
      Num i = number % items, head = number / items;
      Num row = head / heads, first = head * features;
      k.when(
          i < pairs,
          [&] {
            Num one = first + (op.getInterleaved() ? i * 2 : i);
            Num two = one + (op.getInterleaved() ? k.integer(1) : pairs);
            Num place = row % tableRows * pairs + i;
            Num c = w.readReal(cos, place), s = w.readReal(sin, place);
            Num u = w.readReal(x, one), v = w.readReal(x, two);
            w.writeReal(u * c - v * s, to, one);
            w.writeReal(v * c + u * s, to, two);
          },
          [&] {
            Num at = first + pairs + i;
            w.writeReal(w.readReal(x, at), to, at);
          });
    });
  });
}

// Angles are rounded to f32, and their functions computed in f64, as on the
// processor.
MadeKernel moe::cuda::ropeKernel(OpWriter &w, moert::RopeTableOp op) {
  auto positions =
      w.memory(op.getPositions(), Elements::Integer, "memory of positions");
  auto frequencies =
      w.memory(op.getFrequencies(), Elements::Real, "memory of frequencies");
  auto cos = w.memory(op.getOuts()[0], Elements::Real, "a destination");
  auto sin = w.memory(op.getOuts()[1], Elements::Real, "a destination");
  return w.write("rope_table", 0, [&](CudaBuilder &k) {
    Num pairs = w.size(frequencies, 0);
    forEach(k, w.count(positions) * pairs, [&](Num i) {
      Num position = k.convert(w.read(positions, i / pairs), k.f32());
      Num angle = position * w.readReal(frequencies, i % pairs);
      auto [c, s] = cosineAndSine(k, k.convert(angle, k.b.getF64Type()));
      w.writeReal(k.convert(c, k.f32()), cos, i);
      w.writeReal(k.convert(s, k.f32()), sin, i);
    });
  });
}
