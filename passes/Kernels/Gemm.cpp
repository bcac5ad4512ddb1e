#include "codegen/CPU/PanelProduct.h"
#include "passes/Kernels/Kernels.h"

using namespace mlir;
using namespace moe;

bool kernels::has(moert::GemmOp op, const Isa &isa) {
  Value w = op.getWeight();
  return isF32(op.getX()) && isF32(op.getOuts()) && isNarrow(w) &&
         shaped(w).getRank() == 4 && dim(w, 3) == isa.width() &&
         !ShapedType::isDynamic(dim(op.getX(), -1)) &&
         dim(op.getX(), -1) != 0 &&
         !ShapedType::isDynamic(dim(op.getOuts(), -1)) &&
         (!op.getBias() || isNarrow(op.getBias())) &&
         (!op.getResidual() || isF32(op.getResidual()));
}

namespace {
/// A product of `depth` x `columns`, all but the number of rows known.
struct Gemm {
  int64_t depth, columns;
  Type weights, bias; // bias: null where there is none
  bool residual;
  int64_t width, panels;

  std::string name() const {
    return "moe_gemm_" + std::to_string(depth) + "x" + std::to_string(columns) +
           "_" + typeName(weights) + (bias ? "_bias_" + typeName(bias) : "") +
           (residual ? "_residual" : "");
  }
  PanelProduct product() const { return {weights, depth}; }
  int64_t blockRows(const Isa &isa) const { return product().blockRows(isa); }

  void write(KernelBuilder &k, ArrayRef<Num> arguments) const;
  void block(KernelBuilder &k, ArrayRef<Num> arguments, Num memory, Num rows,
             Num first, Num panel, Num lastPanel) const;
  int64_t scratchBytes(const Isa &isa) const {
    return 4 * (blockRows(isa) * depth + product().memorySize(isa)) +
           rowTableBytes(isa);
  }
};
} // namespace

/// Rows [first, first + rows) times panels [panel, lastPanel), in `memory`.
void Gemm::block(KernelBuilder &k, ArrayRef<Num> arguments, Num memory,
                 Num rows, Num first, Num panel, Num lastPanel) const {
  Num x = arguments[1], w = arguments[2], y = arguments[3];
  const Num *next = arguments.data() + 4;
  Num biases = bias ? *next++ : Num(), residuals = residual ? *next++ : Num();
  Num out = k.address(k.f32(), memory, k.integer(blockRows(k.isa) * depth));
  Num table = k.address(k.f32(), out, k.integer(product().memorySize(k.isa)));
  packTiles(k, rows, depth, memory, table,
            [&](Num r) { return k.address(k.f32(), x, (first + r) * depth); });
  auto put = [&](Num r, Num row, Num column, Num c, bool isVector) {
    Num sum = k.load(isVector ? Type(k.vector()) : k.f32(), out, r * width + c);
    Num place = row * columns + column;
    if (bias)
      sum = sum + k.loadWide(bias, isVector, biases, column);
    if (residual)
      sum = sum + k.loadWide(k.f32(), isVector, residuals, place);
    k.store(sum, y, place);
  };
  k.loop(panel, lastPanel, 1, [&](Num p) {
    Num column = p * width;
    product().call(k, rows, memory, k.address(weights, w, p * (depth * width)),
                   out);
    k.loop(0, rows, [&](Num r) {
      Num row = first + r;
      auto whole = [&] {
        for (int64_t c = 0; c < width; c += k.isa.lanes)
          put(r, row, column + c, k.integer(c), true);
      };
      auto part = [&] {
        k.loop(0, k.integer(columns) - column,
               [&](Num c) { put(r, row, column + c, c, false); });
      };
      if (columns % width == 0)
        whole();
      else
        k.when(p < panels - 1, whole, part);
    });
  });
}

void Gemm::write(KernelBuilder &k, ArrayRef<Num> arguments) const {
  Num rows = arguments[0];
  Num blocks = k.ceilDiv(rows, blockRows(k.isa));
  // Few blocks: panels are shared too, up to eight ways.
  Num ways =
      k.min(k.integer(panels),
            k.max(k.integer(1), k.integer(8) / k.max(blocks, k.integer(1))));
  Num items = blocks * ways;
  SmallVector<Num> captured(arguments);
  captured.append({ways});
  k.parallel(name() + "_items", items,
             kernels::grain(k, items, rows * (depth * columns)), captured,
             [&](KernelBuilder &k, ArrayRef<Num> inner, Num begin, Num end) {
               Num ways = inner.back(), memory = k.scratch(scratchBytes(k.isa));
               k.loop(begin, end, 1, [&](Num item) {
                 Num first = item / ways * blockRows(k.isa), way = item % ways;
                 Num rows =
                     k.min(inner[0] - first, k.integer(blockRows(k.isa)));
                 block(k, inner.drop_back(), memory, rows, first,
                       way * panels / ways, (way + 1) * panels / ways);
               });
             });
}

void kernels::call(KernelBuilder &k, moert::GemmOp op) {
  Value w = op.getWeight();
  Gemm gemm{dim(op.getX(), -1),
            dim(op.getOuts(), -1),
            element(w),
            op.getBias() ? element(op.getBias()) : Type(),
            static_cast<bool>(op.getResidual()),
            k.isa.width(),
            dim(w, 1)};
  SmallVector<Num> arguments{rows(k, op.getX()), pointer(k, op.getX()),
                             pointer(k, w), pointer(k, op.getOuts())};
  if (op.getBias())
    arguments.push_back(pointer(k, op.getBias()));
  if (op.getResidual())
    arguments.push_back(pointer(k, op.getResidual()));
  SmallVector<Type> types;
  for (Num n : arguments)
    types.push_back(n.value.getType());
  k.call(k.function(gemm.name(), types,
                    [&](KernelBuilder &k, ArrayRef<Num> inner) {
                      gemm.write(k, inner);
                    }),
         arguments);
}
