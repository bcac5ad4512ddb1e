// What one item of a phase does: a block of rows by a range of panels.
#include "passes/Kernels/ExpertFfn.h"

using namespace mlir;
using namespace moe;
using namespace moe::kernels;

Num ExpertFfn::activate(KernelBuilder &k, Num x) const {
  // The other way round NaN would become 0.
  auto clipped = [&] { return k.max(x.like(0), x); };
  switch (op.getActivation()) {
  case moert::Activation::Identity:
    return x;
  case moert::Activation::Relu:
    return clipped();
  case moert::Activation::Relu2: {
    Num r = clipped();
    return r * r;
  }
  case moert::Activation::Silu:
    return x / (1 + k.exp(x * -op.getAlpha().convertToDouble()));
  case moert::Activation::Gelu:
    return x * 0.5 * (1 + k.erf(x * 0.7071067811865476));
  case moert::Activation::GeluTanh:
    return x * 0.5 *
           (1 + k.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
  }
  llvm_unreachable("all activations are handled");
}

/// The hidden number(s) of column `column` from the sums at `out`, which is
/// where the gate's panel half (or the plain column) lies.
Num ExpertFfn::hiddenOf(KernelBuilder &k, const Operands &o, Num out,
                        Num expert, Num column, bool isVector) const {
  double limit = op.getLimit().convertToDouble();
  int64_t rows = op.getGlu() ? 2 * inner : inner;
  auto sum = [&](int64_t half) {
    Num s = k.loadWide(k.f32(), isVector, out, k.integer(half * lanes));
    if (!o.upBias)
      return s;
    return s + k.loadWide(kernels::element(op.getUpBias()), isVector, o.upBias,
                          expert * rows + column + half * inner);
  };
  Num gate = sum(0);
  if (limit > 0)
    gate = k.min(gate.like(limit), gate);
  if (!op.getGlu())
    return activate(k, gate);
  Num line = sum(1);
  if (limit > 0)
    line = k.max(line.like(-limit), k.min(line.like(limit), line));
  return activate(k, gate) * (line + op.getBeta().convertToDouble());
}

ExpertFfn::Block ExpertFfn::blockAt(KernelBuilder &k, const Groups &g,
                                    Num index) {
  auto number = [&](int64_t which) {
    return k.load(k.i64(), g.table, index * 3 + which);
  };
  return {number(0), number(1), number(2)};
}

/// The inputs of a block, as tiles.
void ExpertFfn::gather(KernelBuilder &k, const Operands &o, const Groups &g,
                       const Block &block, Num tiles, Num table) const {
  Type i64 = k.i64();
  auto source = [&](Num r) {
    Num slot = k.load(i64, g.order, block.first + r);
    return k.address(k.f32(), o.x, slot / slots * features);
  };
  if (!op.getScaleInput())
    return packTiles(k, block.rows, features, tiles, table, source);
  forTiles(k, block.rows, [&](Tile tile) {
    k.loop(0, tile.rows, [&](Num r) {
      Num row = tile.first + r;
      Num weight =
          k.load(k.f32(), o.weights, k.load(i64, g.order, block.first + row));
      Num from = source(row), to = tile.first * features + r;
      k.loop(0, k.integer(features), [&](Num c) {
        k.store(k.load(k.f32(), from, c) * weight, tiles, to + c * tile.rows);
      });
    });
  });
}

/// Columns [column, column + columns) of a block's rows, which lie at `from`,
/// `width` apart, go to their places in `tiles` of `depth` columns.
void ExpertFfn::keepTiles(KernelBuilder &k, const Block &block, Num from,
                          Num table, Num tiles, int64_t depth, Num column,
                          Num columns) const {
  forTiles(k, block.rows, [&](Tile tile) {
    Num to = (block.first + tile.first) * depth + column * tile.rows;
    packTile(k, tile.rows, columns, k.address(k.f32(), tiles, to), table,
             [&](Num r) {
               return k.address(k.f32(), from, (tile.first + r) * width);
             });
  });
}

/// Panels of a low factor: tiles at `from` make tiles at `to`.
void ExpertFfn::lowPanels(KernelBuilder &k, const Block &block,
                          const Item &item, const Matrix &low, int64_t rank,
                          const CodedPanel::Place &weights, Num from, Num to,
                          Num out, Num table) const {
  PanelProduct product = productOf(low);
  int64_t panels = kernels::dim(low.values, 1);
  k.loop(item.panel, item.lastPanel, 1, [&](Num p) {
    product.call(k, block.rows, from,
                 product.panel(k, weights, block.expert * panels + p), out);
    keepTiles(k, block, out, table, to, rank, p * width,
              k.min(k.integer(rank) - p * width, k.integer(width)));
  });
}

/// The first factor of the first matrix, for the rows of one block.
void ExpertFfn::upLowItem(KernelBuilder &k, const Operands &o, const Groups &g,
                          const Item &item) const {
  Block block = blockAt(k, g, item.block);
  Matrix low = op.getUpLowMatrix();
  Num out =
      k.address(k.f32(), item.memory, k.integer(blockRows(k.isa) * features));
  Num table =
      k.address(k.f32(), out, k.integer(productOf(low).memorySize(k.isa)));
  gather(k, o, g, block, item.memory, table);
  lowPanels(k, block, item, low, upRank(), o.upLow, item.memory, g.upLow, out,
            table);
}

/// The first factor of the second matrix, for the rows of one block.
void ExpertFfn::downLowItem(KernelBuilder &k, const Operands &o,
                            const Groups &g, const Item &item) const {
  Block block = blockAt(k, g, item.block);
  Matrix low = op.getDownLowMatrix();
  Num table = k.address(k.f32(), item.memory,
                        k.integer(productOf(low).memorySize(k.isa)));
  Num hidden = k.address(k.f32(), g.hidden, block.first * inner);
  lowPanels(k, block, item, low, downRank(), o.downLow, hidden, g.downLow,
            item.memory, table);
}

/// Panels of the first matrix (its last factor), for the rows of one block.
void ExpertFfn::upItem(KernelBuilder &k, const Operands &o, const Groups &g,
                       const Item &item) const {
  Block block = blockAt(k, g, item.block);
  PanelProduct product = productOf(op.getUpMatrix());
  bool isLow = bool(op.getUpLow());
  Num tiles =
      isLow ? k.address(k.f32(), g.upLow, block.first * upRank()) : item.memory;
  Num out = isLow ? item.memory
                  : k.address(k.f32(), item.memory,
                              k.integer(blockRows(k.isa) * features));
  Num table = k.address(k.f32(), out, k.integer(product.memorySize(k.isa)));
  if (!isLow)
    gather(k, o, g, block, tiles, table);
  // A gated panel holds `lanes` columns of each half.
  int64_t panelColumns = op.getGlu() ? lanes : width;
  int64_t panels = kernels::dim(op.getUp(), 1);
  k.loop(item.panel, item.lastPanel, 1, [&](Num p) {
    product.call(k, block.rows, tiles,
                 product.panel(k, o.up, block.expert * panels + p), out);
    // Hidden numbers take the place of the sums, then their places in tiles.
    Num columns =
        k.min(k.integer(inner) - p * panelColumns, k.integer(panelColumns));
    k.loop(0, block.rows, [&](Num r) {
      auto put = [&](Num offset, bool isVector) {
        Num sums = k.address(k.f32(), out, r * width + offset);
        k.store(hiddenOf(k, o, sums, block.expert, p * panelColumns + offset,
                         isVector),
                sums, k.integer(0));
      };
      auto whole = [&] {
        for (int64_t c = 0; c < panelColumns; c += lanes)
          put(k.integer(c), true);
      };
      auto part = [&] { k.loop(0, columns, [&](Num c) { put(c, false); }); };
      if (inner % panelColumns == 0)
        whole();
      else
        k.when(columns == panelColumns, whole, part);
    });
    keepTiles(k, block, out, table, g.hidden, inner, p * panelColumns, columns);
  });
}

/// Columns of panels [panel, lastPanel) of the result, for all tokens.
void ExpertFfn::downItem(KernelBuilder &k, const Operands &o, const Groups &g,
                         Num out, Num panel, Num lastPanel) const {
  Num firstColumn = panel * width;
  Num endColumn = k.min(lastPanel * width, k.integer(outputs));
  if (!inPlace())
    k.loop(0, o.tokens, [&](Num t) {
      k.loop(firstColumn, endColumn, 1, [&](Num c) {
        Num place = t * outputs + c;
        k.store(o.residual ? k.load(k.f32(), o.residual, place) : k.real(0),
                o.y, place);
      });
    });
  PanelProduct product = productOf(op.getDownMatrix());
  int64_t panels = kernels::dim(op.getDown(), 1);
  Num tiles = op.getDownLow() ? g.downLow : g.hidden;
  k.loop(0, g.blocks, [&](Num index) {
    auto [expert, first, rows] = blockAt(k, g, index);
    k.loop(panel, lastPanel, 1, [&](Num p) {
      product.call(k, rows, k.address(k.f32(), tiles, first * product.depth),
                   product.panel(k, o.down, expert * panels + p), out);
      k.loop(0, rows, [&](Num r) {
        Num slot = k.load(k.i64(), g.order, first + r);
        Num weight = k.load(k.f32(), o.weights, slot);
        double scale = op.getOutputScale().convertToDouble();
        if (scale != 1)
          weight = op.getScaleInput() ? k.real(scale) : weight * scale;
        auto add = [&](Num offset, bool isVector) {
          Num column = p * width + offset, to = slot / slots * outputs + column;
          Num sum = k.loadWide(k.f32(), isVector, out, r * width + offset);
          if (o.downBias)
            sum = sum + k.loadWide(kernels::element(op.getDownBias()), isVector,
                                   o.downBias, expert * outputs + column);
          Num before = k.loadWide(k.f32(), isVector, o.y, to);
          if (op.getScaleInput() && scale == 1)
            sum = before + sum;
          else
            sum = k.fma(isVector ? k.splat(weight) : weight, sum, before);
          k.store(sum, o.y, to);
        };
        auto whole = [&] {
          for (int64_t c = 0; c < width; c += lanes)
            add(k.integer(c), true);
        };
        auto part = [&] {
          k.loop(0, k.integer(outputs) - p * width,
                 [&](Num c) { add(c, false); });
        };
        if (outputs % width == 0)
          whole();
        else
          k.when((p + 1) * width < outputs + 1, whole, part);
      });
    });
  });
}
