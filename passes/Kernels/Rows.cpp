#include "passes/Kernels/Kernels.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace moe;

// Kernels that treat rows one by one, as scalar loops: LLVM's vectoriser does
// as well as hand-written vectors here, for any length.

namespace {
/// Rows of `length` numbers that are worth a hand-off to another core.
int64_t rowsPerItem(int64_t length) {
  return std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, length));
}

/// Calls the kernel `name` with `arguments`, whose first is the number of
/// rows; `row(arguments, r)` writes the code for one row.
void forRows(KernelBuilder &k, const std::string &name, int64_t length,
             ArrayRef<Num> arguments,
             KernelBuilder::Fn<void(KernelBuilder &, ArrayRef<Num>, Num)> row) {
  SmallVector<Type> types;
  for (Num n : arguments)
    types.push_back(n.value.getType());
  auto function =
      k.function(name, types, [&](KernelBuilder &k, ArrayRef<Num> inner) {
        k.parallel(
            name + "_rows", inner[0], k.integer(rowsPerItem(length)), inner,
            [&](KernelBuilder &k, ArrayRef<Num> captured, Num begin, Num end) {
              k.loop(begin, end, 1, [&](Num r) { row(k, captured, r); });
            });
      });
  k.call(function, arguments);
}
} // namespace

// --- norms

bool kernels::has(moert::RmsNormOp op, const Isa &) {
  return isF32(op.getX()) && isF32(op.getOuts()) && isNarrow(op.getScale()) &&
         !ShapedType::isDynamic(dim(op.getX(), -1));
}

void kernels::call(KernelBuilder &k, moert::RmsNormOp op) {
  int64_t length = dim(op.getX(), -1);
  Type scaleType = element(op.getScale());
  double epsilon = op.getEpsilon().convertToDouble();
  std::string name = "moe_rms_norm_" + std::to_string(length) + "_" +
                     typeName(scaleType) + "_" + bits(op.getEpsilon());
  forRows(k, name, length,
          {rows(k, op.getX()), pointer(k, op.getX()), pointer(k, op.getScale()),
           pointer(k, op.getOuts())},
          [&](KernelBuilder &k, ArrayRef<Num> a, Num r) {
            Num count = k.integer(length),
                x = k.address(k.f32(), a[1], r * length);
            Num y = k.address(k.f32(), a[3], r * length);
            Num squares =
                k.fold(k.integer(0), count, k.real(0), [&](Num i, Num sum) {
                  Num v = k.load(k.f32(), x, i);
                  return sum + v * v;
                });
            Num ratio =
                1 / k.sqrt(squares / static_cast<double>(length) + epsilon);
            k.loop(0, count, [&](Num i) {
              Num scale = k.loadWide(scaleType, false, a[2], i);
              k.store(k.load(k.f32(), x, i) * ratio * scale, y, i);
            });
          });
}

bool kernels::has(moert::LayerNormOp op, const Isa &) {
  return isF32(op.getX()) && isF32(op.getOuts()) && isNarrow(op.getScale()) &&
         (!op.getBias() || isNarrow(op.getBias())) &&
         !ShapedType::isDynamic(dim(op.getX(), -1));
}

void kernels::call(KernelBuilder &k, moert::LayerNormOp op) {
  int64_t length = dim(op.getX(), -1);
  Type scaleType = element(op.getScale());
  Type biasType = op.getBias() ? element(op.getBias()) : Type();
  double epsilon = op.getEpsilon().convertToDouble();
  std::string name = "moe_layer_norm_" + std::to_string(length) + "_" +
                     typeName(scaleType) +
                     (biasType ? "_bias_" + typeName(biasType) : "") + "_" +
                     bits(op.getEpsilon());
  SmallVector<Num> arguments{rows(k, op.getX()), pointer(k, op.getX()),
                             pointer(k, op.getScale()),
                             pointer(k, op.getOuts())};
  if (biasType)
    arguments.push_back(pointer(k, op.getBias()));
  forRows(
      k, name, length, arguments,
      [&](KernelBuilder &k, ArrayRef<Num> a, Num r) {
        Num count = k.integer(length), x = k.address(k.f32(), a[1], r * length);
        Num y = k.address(k.f32(), a[3], r * length);
        auto sum = [&](KernelBuilder::Fn<Num(Num)> term) {
          return k.fold(k.integer(0), count, k.real(0), [&](Num i, Num sum) {
            return sum + term(k.load(k.f32(), x, i));
          });
        };
        double inverse = static_cast<double>(length);
        Num mean = sum([](Num v) { return v; }) / inverse;
        Num variance = sum([&](Num v) {
                         Num d = v - mean;
                         return d * d;
                       }) /
                       inverse;
        Num ratio = 1 / k.sqrt(variance + epsilon);
        k.loop(0, count, [&](Num i) {
          Num scaled = (k.load(k.f32(), x, i) - mean) * ratio *
                       k.loadWide(scaleType, false, a[2], i);
          if (biasType)
            scaled = scaled + k.loadWide(biasType, false, a[4], i);
          k.store(scaled, y, i);
        });
      });
}

// --- rotary positions

bool kernels::has(moert::RopeTableOp op, const Isa &) {
  Type positions = element(op.getPositions());
  return (positions.isInteger(64) || positions.isInteger(32)) &&
         isF32(op.getFrequencies()) && isF32(op.getOuts()[0]) &&
         isF32(op.getOuts()[1]) &&
         !ShapedType::isDynamic(dim(op.getFrequencies(), 0));
}

void kernels::call(KernelBuilder &k, moert::RopeTableOp op) {
  int64_t pairs = dim(op.getFrequencies(), 0);
  Type positions = element(op.getPositions()), f64 = k.b.getF64Type();
  // A sine in double costs as much as a hundred products.
  forRows(k,
          "moe_rope_table_" + std::to_string(pairs) + "_" + typeName(positions),
          pairs * 100,
          {rows(k, op.getPositions(), 0), pointer(k, op.getPositions()),
           pointer(k, op.getFrequencies()), pointer(k, op.getOuts()[0]),
           pointer(k, op.getOuts()[1])},
          [&](KernelBuilder &k, ArrayRef<Num> a, Num r) {
            Num position = k.convert(k.load(positions, a[1], r), k.f32());
            k.loop(0, k.integer(pairs), [&](Num i) {
              Num angle = k.convert(position * k.load(k.f32(), a[2], i), f64);
              Num cosine{k, math::CosOp::create(k.b, k.loc, angle.value)};
              Num sine{k, math::SinOp::create(k.b, k.loc, angle.value)};
              k.store(k.convert(cosine, k.f32()), a[3], r * pairs + i);
              k.store(k.convert(sine, k.f32()), a[4], r * pairs + i);
            });
          });
}

bool kernels::has(moert::RopeOp op, const Isa &) {
  for (Value v : {op.getX(), op.getCos(), op.getSin(), op.getOuts()})
    if (!isF32(v))
      return false;
  return !ShapedType::isDynamic(dim(op.getX(), 2)) &&
         !ShapedType::isDynamic(dim(op.getX(), 3)) &&
         !ShapedType::isDynamic(dim(op.getCos(), 2));
}

void kernels::call(KernelBuilder &k, moert::RopeOp op) {
  int64_t heads = dim(op.getX(), 2), features = dim(op.getX(), 3);
  int64_t pairs = dim(op.getCos(), 2);
  bool interleaved = op.getInterleaved();
  std::string name = "moe_rope_" + std::to_string(heads) + "x" +
                     std::to_string(features) + "_" + std::to_string(pairs) +
                     (interleaved ? "_interleaved" : "");
  // Tables of one batch row serve all.
  Num tableRows = size(k, op.getCos(), 0) * size(k, op.getCos(), 1);
  forRows(k, name, heads * features,
          {rows(k, op.getX(), 2), tableRows, pointer(k, op.getX()),
           pointer(k, op.getCos()), pointer(k, op.getSin()),
           pointer(k, op.getOuts())},
          [&](KernelBuilder &k, ArrayRef<Num> a, Num r) {
            Num table = r % a[1] * pairs;
            Num cosines = k.address(k.f32(), a[3], table);
            Num sines = k.address(k.f32(), a[4], table);
            k.loop(0, k.integer(heads), [&](Num h) {
              Num place = (r * heads + h) * features;
              Num x = k.address(k.f32(), a[2], place),
                  y = k.address(k.f32(), a[5], place);
              k.loop(0, k.integer(pairs), [&](Num i) {
                Num first = interleaved ? i * 2 : i;
                Num second = interleaved ? first + 1 : i + pairs;
                Num u = k.load(k.f32(), x, first),
                    v = k.load(k.f32(), x, second);
                Num c = k.load(k.f32(), cosines, i),
                    s = k.load(k.f32(), sines, i);
                k.store(u * c - v * s, y, first);
                k.store(v * c + u * s, y, second);
              });
              k.loop(k.integer(2 * pairs), k.integer(features), 1,
                     [&](Num i) { k.store(k.load(k.f32(), x, i), y, i); });
            });
          });
}

// --- rows that move

bool kernels::has(moert::EmbedOp op, const Isa &) {
  Type ids = element(op.getIds());
  return (ids.isInteger(64) || ids.isInteger(32)) && isNarrow(op.getTable()) &&
         isF32(op.getOuts()) && !ShapedType::isDynamic(dim(op.getTable(), 0)) &&
         !ShapedType::isDynamic(dim(op.getTable(), 1));
}

void kernels::call(KernelBuilder &k, moert::EmbedOp op) {
  int64_t count = dim(op.getTable(), 0), length = dim(op.getTable(), 1);
  Type ids = element(op.getIds()), table = element(op.getTable());
  forRows(k,
          "moe_embed_" + std::to_string(count) + "x" + std::to_string(length) +
              "_" + typeName(table) + "_" + typeName(ids),
          length,
          {rows(k, op.getIds(), 0), pointer(k, op.getIds()),
           pointer(k, op.getTable()), pointer(k, op.getOuts())},
          [&](KernelBuilder &k, ArrayRef<Num> a, Num r) {
            Num given = k.convert(k.load(ids, a[1], r), k.i64());
            Num id = k.select(given < 0, given + count, given);
            Num outside = (id < 0) | (count - 1 < id);
            k.check(
                outside == outside.like(0),
                "moert.embed: an id is outside the table: %lld is not in [-" +
                    std::to_string(count) + ", " + std::to_string(count) + ")",
                given);
            // A failed check returns here from parallel code: stay inside.
            Num row = k.select(outside, k.integer(0), id) * length;
            k.loop(0, k.integer(length), [&](Num i) {
              k.store(k.loadWide(table, false, a[2], row + i), a[3],
                      r * length + i);
            });
          });
}

bool kernels::has(moert::KvAppendOp op, const Isa &) {
  Type type = element(op.getOuts());
  return element(op.getFresh()) == type &&
         (!op.getPast() || element(op.getPast()) == type) &&
         type.getIntOrFloatBitWidth() % 8 == 0 &&
         !ShapedType::isDynamic(dim(op.getOuts(), 1)) &&
         !ShapedType::isDynamic(dim(op.getOuts(), 3));
}

void kernels::call(KernelBuilder &k, moert::KvAppendOp op) {
  int64_t heads = dim(op.getOuts(), 1), length = dim(op.getOuts(), 3);
  Type type = element(op.getOuts());
  int64_t bytes = length * (type.getIntOrFloatBitWidth() / 8);
  Value past = op.getPast();
  SmallVector<Num> arguments{
      size(k, op.getFresh(), 0) * heads, size(k, op.getFresh(), 1),
      pointer(k, op.getFresh()), pointer(k, op.getOuts())};
  if (past)
    arguments.append({size(k, past, 2), pointer(k, past)});
  // One item is all of a head.
  forRows(
      k,
      "moe_kv_append_" + std::to_string(heads) + "x" + std::to_string(length) +
          "_" + typeName(type) + (past ? "_past" : ""),
      1 << 15, arguments, [&](KernelBuilder &k, ArrayRef<Num> a, Num item) {
        Num batch = item / heads, head = item % heads, fresh = a[1];
        Num kept = a.size() > 4 ? a[4] : k.integer(0);
        Num row = item * (kept + fresh) * length;
        if (a.size() > 4)
          k.copyBytes(k.address(type, a[3], row),
                      k.address(type, a[5], item * kept * length),
                      kept * bytes);
        k.loop(0, fresh, [&](Num s) {
          k.copyBytes(k.address(type, a[3], row + (kept + s) * length),
                      k.address(type, a[2],
                                ((batch * fresh + s) * heads + head) * length),
                      k.integer(bytes));
        });
      });
}
