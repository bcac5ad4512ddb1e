#include "codegen/CPU/Microkernel.h"
#include "passes/Kernels/Kernels.h"

using namespace mlir;
using namespace moe;

bool kernels::has(moert::GemmOp op, const Isa &isa) {
  Value w = op.getWeight();
  return isF32(op.getX()) && isF32(op.getOuts()) && isNarrow(w) &&
         shaped(w).getRank() == 4 && dim(w, 3) == isa.width() &&
         !ShapedType::isDynamic(dim(op.getX(), -1)) &&
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
  int64_t width, panels, tileRows;

  std::string name() const {
    return "moe_gemm_" + std::to_string(depth) + "x" + std::to_string(columns) +
           "_" + kernels::text(weights) +
           (bias ? "_bias_" + kernels::text(bias) : "") +
           (residual ? "_residual" : "");
  }
  /// Rows whose tiles a core keeps in its second-level cache while panels
  /// stream by.
  int64_t blockRows() const {
    int64_t fit = (512 << 10) / (4 * tileRowSize(depth));
    return std::clamp<int64_t>(fit / tileRows, 1, 8) * tileRows;
  }

  void write(KernelBuilder &k, ArrayRef<Num> arguments) const;
  void block(KernelBuilder &k, ArrayRef<Num> arguments, Num memory, Num rows,
             Num first, Num panel, Num lastPanel) const;
  int64_t scratchBytes() const {
    return 4 * (blockRows() * tileRowSize(depth) + tileRows * width);
  }
};
} // namespace

/// Rows [first, first + rows) times panels [panel, lastPanel), in `memory`.
void Gemm::block(KernelBuilder &k, ArrayRef<Num> arguments, Num memory,
                 Num rows, Num first, Num panel, Num lastPanel) const {
  Num x = arguments[1], w = arguments[2], y = arguments[3];
  const Num *next = arguments.data() + 4;
  Num biases = bias ? *next++ : Num(), residuals = residual ? *next++ : Num();
  int64_t rowSize = tileRowSize(depth);
  Num out = k.address(k.f32(), memory, k.integer(blockRows() * rowSize));
  // Rows are shared evenly: 13 rows are 7 and 6, not 12 and 1.
  Num tiles = k.ceilDiv(rows, tileRows);
  auto start = [&](Num tile) { return rows * tile / tiles; };
  k.loop(0, tiles, [&](Num tile) {
    Num from = start(tile), count = start(tile + 1) - from;
    Num to = k.address(k.f32(), memory, from * rowSize);
    k.loop(0, count, [&](Num r) {
      Num source = k.address(k.f32(), x, (first + from + r) * depth);
      fillTileRow(k, to, count, r, source, depth);
    });
  });
  Microkernel product{weights, width, width};
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
    Num weightsOfPanel = k.address(weights, w, p * (depth * width));
    Num column = p * width;
    k.loop(0, tiles, [&](Num tile) {
      Num from = start(tile), count = start(tile + 1) - from;
      Num rowsOfTile = k.address(k.f32(), memory, from * rowSize);
      product.call(k, count, depth, rowsOfTile, weightsOfPanel, out, tile,
                   tiles);
      k.loop(0, count, [&](Num r) {
        Num row = first + from + r;
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
  });
}

void Gemm::write(KernelBuilder &k, ArrayRef<Num> arguments) const {
  Num rows = arguments[0];
  Num blocks = k.ceilDiv(rows, blockRows());
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
               Num ways = inner.back(), memory = k.scratch(scratchBytes());
               k.loop(begin, end, 1, [&](Num item) {
                 Num first = item / ways * blockRows(), way = item % ways;
                 Num rows = k.min(inner[0] - first, k.integer(blockRows()));
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
            dim(w, 1),
            k.isa.maxRows};
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
