// Rows that move.
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/OpWriter.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;

// An id outside the table ends the run on the processor. Here it is a fault,
// and the first row is read.
MadeKernel moe::cuda::embedKernel(OpWriter &w, moert::EmbedOp op) {
  auto ids = w.memory(op.getIds(), Elements::Integer, "memory of ids");
  auto table = w.memory(op.getTable(), Elements::Real, "the table");
  auto to = w.memory(op.getOuts(), Elements::Real, "the destination");
  if (w.isRefused())
    return std::nullopt;
  // Ids outside of the table read its first row.
  if (cast<MemRefType>(op.getTable().getType()).getDimSize(0) < 1)
    return w.refuse("its table has no rows, or of a number not known");
  w.takeFaults("moert.embed: an id is outside the table (number %lld of them)");
  return w.write("embed", 0, [&](CudaBuilder &k) {
    Num rows = w.size(table, 0), length = w.size(table, 1);
    Num zero = k.integer(0);
    forEach(k, w.count(ids) * length, [&](Num i) {
      Num n = i / length, at = i % length;
      Num given = k.convert(w.read(ids, n), k.i64());
      Num id = k.select(given < zero, given + rows, given);
      Num isOutside = (id < zero) | (rows - 1 < id);
      k.when(isOutside & (at == zero), [&] { w.fault(n); });
      Num row = k.select(isOutside, zero, id);
      w.writeReal(w.readReal(table, row * length + at), to, i);
    });
  });
}

MadeKernel moe::cuda::appendKernel(OpWriter &w, moert::KvAppendOp op) {
  OpWriter::Memory past;
  if (op.getPast())
    past = w.memory(op.getPast(), Elements::Bits, "memory of the past");
  auto fresh = w.memory(op.getFresh(), Elements::Bits, "fresh memory");
  auto to = w.memory(op.getOuts(), Elements::Bits, "the destination");
  if (w.isRefused())
    return std::nullopt;
  if (fresh.element != to.element ||
      (op.getPast() && past.element != to.element))
    return w.refuse("past, fresh and all rows have different types");
  return w.write("kv_append", 0, [&](CudaBuilder &k) {
    Num heads = w.size(fresh, 2), features = w.size(fresh, 3);
    Num steps = w.size(fresh, 1);
    Num kept = op.getPast() ? w.size(past, 2) : k.integer(0);
    Num all = kept + steps;
    forEach(k, w.size(fresh, 0) * heads * all * features, [&](Num i) {
      Num d = i % features, row = i / features;
      Num at = row % all, head = row / all;
      auto add = [&] {
        Num from = (head / heads * steps + at - kept) * heads + head % heads;
        return w.read(fresh, from * features + d);
      };
      auto keep = [&] {
        return w.read(past, (head * kept + at) * features + d);
      };
      w.write(op.getPast() ? k.choose(at < kept, keep, add) : add(), to, i);
    });
  });
}
