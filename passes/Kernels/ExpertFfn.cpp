#include "codegen/CPU/PanelProduct.h"
#include "passes/Kernels/Kernels.h"

using namespace mlir;
using namespace moe;

/// How a weight is coded, as the product of panels wants to know it.
static std::optional<CodedPanel> codedPanel(Value weights,
                                            std::optional<moert::Coding> coding,
                                            std::optional<int64_t> block,
                                            Value scales, Value zeros) {
  if (!coding)
    return std::nullopt;
  int64_t depth = kernels::dim(weights, 2);
  int64_t rows = *block ? std::min(*block, depth) : depth;
  return CodedPanel{static_cast<Coding>(*coding), rows,
                    kernels::element(scales), static_cast<bool>(zeros),
                    moert::codeTable(*coding)};
}

static std::optional<CodedPanel> codedUp(moert::ExpertFfnOp op) {
  return codedPanel(op.getUp(), op.getUpCoding(), op.getUpBlock(),
                    op.getUpScales(), op.getUpZeros());
}
static std::optional<CodedPanel> codedDown(moert::ExpertFfnOp op) {
  return codedPanel(op.getDown(), op.getDownCoding(), op.getDownBlock(),
                    op.getDownScales(), op.getDownZeros());
}

bool kernels::has(moert::ExpertFfnOp op, const Isa &isa) {
  auto packed = [&](Value w, std::optional<moert::Coding> coding,
                    std::optional<CodedPanel> coded, Value scales) {
    if (shaped(w).getRank() != 4 ||
        op.getPanelWidth(w, coding) != isa.width() || dim(w, 2) < 1)
      return false;
    return coded ? coded->fits(PanelProduct::blockDepth(isa), dim(w, 2)) &&
                       (isNarrow(scales) ||
                        llvm::isa<Float8E8M0FNUType>(element(scales)))
                 : isNarrow(w);
  };
  return packed(op.getUp(), op.getUpCoding(), codedUp(op), op.getUpScales()) &&
         packed(op.getDown(), op.getDownCoding(), codedDown(op),
                op.getDownScales()) &&
         isF32(op.getX()) && dim(op.getX(), 1) != 0 &&
         dim(op.getDown(), 2) != 0 && isF32(op.getWeights()) &&
         isF32(op.getOuts()) && element(op.getIds()).isInteger(32) &&
         !ShapedType::isDynamic(dim(op.getX(), 1)) &&
         !ShapedType::isDynamic(dim(op.getIds(), 1)) &&
         !ShapedType::isDynamic(dim(op.getOuts(), 1)) &&
         (!op.getUpBias() || isNarrow(op.getUpBias())) &&
         (!op.getDownBias() || isNarrow(op.getDownBias())) &&
         (!op.getResidual() || isF32(op.getResidual()));
}

namespace {
/// The experts of a layer: tokens are grouped by expert; each expert's rows go
/// through its first matrix into `hidden`, which lies in tiles; then every
/// range of output columns adds up what the experts say about it, in the order
/// of the experts, whoever computes it.
class ExpertFfn {
public:
  ExpertFfn(KernelBuilder &k, moert::ExpertFfnOp op);
  SmallVector<Num> operands(KernelBuilder &k) const;
  std::string name() const;
  void write(KernelBuilder &k, ArrayRef<Num> arguments) const;

private:
  /// The operands by name, wherever they were carried to.
  struct Operands {
    Num tokens, x, ids, weights;
    CodedPanel::Place up, down; // scales and zeros where they are coded
    Num y, upBias, downBias, residual;
    Num entries; // i32 table: matrix of a column
  };
  /// The optional ones, in the order in which they are carried.
  static SmallVector<Num *> optional(Operands &o) {
    return {&o.up.scales, &o.up.zeros, &o.down.scales, &o.down.zeros,
            &o.upBias,    &o.downBias, &o.residual,    &o.entries};
  }
  /// Which of them there are.
  SmallVector<bool> present() const {
    return {bool(op.getUpScales()),         bool(op.getUpZeros()),
            bool(op.getDownScales()),       bool(op.getDownZeros()),
            bool(op.getUpBias()),           bool(op.getDownBias()),
            op.getResidual() && !inPlace(), bool(op.getEntries())};
  }
  /// Whether the sum goes on in the destination.
  bool inPlace() const { return op.getResidual() == op.getOuts(); }
  Operands unpack(ArrayRef<Num> arguments) const;
  SmallVector<Num> pack(const Operands &o) const;

  /// How the tokens of a call are grouped.
  struct Groups {
    Num order;  ///< slots (token * k + choice), by expert
    Num table;  ///< (expert, first, rows) per block of rows, i64
    Num hidden; ///< what comes out of the first matrix, in tiles
    Num blocks; ///< number of blocks
  };
  Groups group(KernelBuilder &k, const Operands &o, Num memory) const;
  void some(KernelBuilder &k, const Operands &o) const;
  void upItem(KernelBuilder &k, const Operands &o, const Groups &g, Num memory,
              Num block, Num panel, Num lastPanel) const;
  void downItem(KernelBuilder &k, const Operands &o, const Groups &g, Num out,
                Num panel, Num lastPanel) const;
  Num activate(KernelBuilder &k, Num x) const;
  Num hiddenOf(KernelBuilder &k, const Operands &o, Num out, Num expert,
               Num column, bool isVector) const;

  PanelProduct upProduct() const {
    return {kernels::element(op.getUp()), features, codedUp(op)};
  }
  PanelProduct downProduct() const {
    return {kernels::element(op.getDown()), inner, codedDown(op)};
  }
  /// Rows of a group: as many as both products like.
  int64_t blockRows(const Isa &isa) const {
    return std::min(upProduct().blockRows(isa), downProduct().blockRows(isa));
  }

  mutable moert::ExpertFfnOp op; // a handle: its getters are not const
  int64_t experts, slots, features, inner, outputs;
  int64_t width, lanes;
};
} // namespace

ExpertFfn::ExpertFfn(KernelBuilder &k, moert::ExpertFfnOp op)
    : op(op), experts(kernels::dim(op.getUp(), 0)),
      slots(kernels::dim(op.getIds(), 1)), features(kernels::dim(op.getX(), 1)),
      inner(kernels::dim(op.getDown(), 2)),
      outputs(kernels::dim(op.getOuts(), 1)), width(k.isa.width()),
      lanes(k.isa.lanes) {}

std::string ExpertFfn::name() const {
  std::string text = "moe_expert_ffn_";
  llvm::raw_string_ostream os(text);
  auto typeOf = [](const PanelProduct &product) {
    return product.coded ? product.coded->name() : typeName(product.weights);
  };
  os << stringifyActivation(op.getActivation()) << (op.getGlu() ? "_glu_" : "_")
     << features << "x" << inner << "x" << outputs << "_e" << experts << "k"
     << slots << "_" << typeOf(upProduct()) << "_" << typeOf(downProduct());
  if (op.getUpBias())
    os << "_ub_" << typeName(kernels::element(op.getUpBias()));
  if (op.getDownBias())
    os << "_db_" << typeName(kernels::element(op.getDownBias()));
  if (op.getResidual())
    os << (inPlace() ? "_onto" : "_residual");
  if (op.getScaleInput())
    os << "_scaled";
  if (op.getEntries())
    os << "_of" << op.getNumColumns();
  for (const APFloat &number :
       {op.getAlpha(), op.getBeta(), op.getLimit(), op.getOutputScale()})
    os << "_" << kernels::bits(number);
  return text;
}

SmallVector<Num> ExpertFfn::operands(KernelBuilder &k) const {
  auto place = [&](Value v) { return v ? kernels::pointer(k, v) : Num(); };
  Operands o{
      kernels::size(k, op.getX(), 0),
      place(op.getX()),
      place(op.getIds()),
      place(op.getWeights()),
      {place(op.getUp()), place(op.getUpScales()), place(op.getUpZeros())},
      {place(op.getDown()), place(op.getDownScales()),
       place(op.getDownZeros())},
      place(op.getOuts()),
      place(op.getUpBias()),
      place(op.getDownBias()),
      inPlace() ? Num() : place(op.getResidual()),
      {}};
  if (std::optional<ArrayRef<int64_t>> entries = op.getEntries()) {
    SmallVector<int32_t> table(entries->begin(), entries->end());
    o.entries = k.table(table);
  }
  return pack(o);
}

SmallVector<Num> ExpertFfn::pack(const Operands &o) const {
  SmallVector<Num> list{o.tokens,    o.x,           o.ids, o.weights,
                        o.up.values, o.down.values, o.y};
  Operands copy = o;
  for (Num *n : optional(copy))
    if (*n)
      list.push_back(*n);
  return list;
}

ExpertFfn::Operands ExpertFfn::unpack(ArrayRef<Num> list) const {
  Operands o;
  o.tokens = list[0], o.x = list[1], o.ids = list[2], o.weights = list[3];
  o.up.values = list[4], o.down.values = list[5], o.y = list[6];
  const Num *next = list.data() + 7;
  for (auto [place, there] : llvm::zip(optional(o), present()))
    if (there)
      *place = *next++;
  return o;
}

/// Sorts slots by expert (stable), and cuts each expert's rows into blocks.
ExpertFfn::Groups ExpertFfn::group(KernelBuilder &k, const Operands &o,
                                   Num memory) const {
  Type i64 = k.i64();
  Num total = o.tokens * slots;
  // Memory: starts [E + 1], cursors [E], order [n], table, hidden.
  Num starts = memory, cursors = k.address(i64, memory, k.integer(experts + 1));
  Groups g;
  g.order = k.address(i64, cursors, k.integer(experts));
  g.table = k.address(i64, g.order, total);
  k.loop(0, k.integer(experts + 1),
         [&](Num e) { k.store(k.integer(0), starts, e); });
  auto forSlots = [&](KernelBuilder::Fn<void(Num, Num)> body) {
    k.loop(0, total, [&](Num slot) {
      Num expert = k.convert(k.load(k.i32(), o.ids, slot), i64);
      auto isSome = [&](Num number) {
        return (number < 0) == k.zeros(k.b.getI1Type());
      };
      k.when(isSome(expert) & (expert < op.getNumColumns()), [&] {
        if (!o.entries)
          return body(slot, expert);
        Num matrix = k.convert(k.load(k.i32(), o.entries, expert), i64);
        k.when(isSome(matrix), [&] { body(slot, matrix); });
      });
    });
  };
  forSlots([&](Num, Num e) {
    k.store(k.load(i64, starts, e + 1) + 1, starts, e + 1);
  });
  k.loop(0, k.integer(experts), [&](Num e) {
    Num start = k.load(i64, starts, e);
    k.store(start, cursors, e);
    k.store(start + k.load(i64, starts, e + 1), starts, e + 1);
  });
  forSlots([&](Num slot, Num e) {
    Num place = k.load(i64, cursors, e);
    k.store(slot, g.order, place);
    k.store(place + 1, cursors, e);
  });
  g.blocks = k.fold(
      k.integer(0), k.integer(experts), k.integer(0), [&](Num e, Num count) {
        Num first = k.load(i64, starts, e),
            rows = k.load(i64, starts, e + 1) - first;
        Num pieces = k.ceilDiv(rows, blockRows(k.isa));
        k.loop(0, pieces, [&](Num piece) {
          Num from = rows * piece / pieces;
          Num entry = (count + piece) * 3;
          k.store(e, g.table, entry);
          k.store(first + from, g.table, entry + 1);
          k.store(rows * (piece + 1) / pieces - from, g.table, entry + 2);
        });
        return count + pieces;
      });
  Num tableEnd = k.address(i64, g.table, (total + experts) * 3);
  g.hidden = tableEnd;
  return g;
}

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

/// Panels [panel, lastPanel) of the first matrix, for the rows of one block.
void ExpertFfn::upItem(KernelBuilder &k, const Operands &o, const Groups &g,
                       Num memory, Num block, Num panel, Num lastPanel) const {
  Type i64 = k.i64();
  Num expert = k.load(i64, g.table, block * 3);
  Num first = k.load(i64, g.table, block * 3 + 1);
  Num rows = k.load(i64, g.table, block * 3 + 2);
  PanelProduct product = upProduct();
  Num out = k.address(k.f32(), memory, k.integer(blockRows(k.isa) * features));
  Num table = k.address(k.f32(), out, k.integer(product.memorySize(k.isa)));
  auto source = [&](Num r) {
    Num slot = k.load(i64, g.order, first + r);
    return k.address(k.f32(), o.x, slot / slots * features);
  };
  if (!op.getScaleInput())
    packTiles(k, rows, features, memory, table, source);
  else
    forTiles(k, rows, [&](Tile tile) {
      k.loop(0, tile.rows, [&](Num r) {
        Num row = tile.first + r;
        Num weight =
            k.load(k.f32(), o.weights, k.load(i64, g.order, first + row));
        Num from = source(row), to = tile.first * features + r;
        k.loop(0, k.integer(features), [&](Num c) {
          k.store(k.load(k.f32(), from, c) * weight, memory,
                  to + c * tile.rows);
        });
      });
    });
  // A gated panel holds `lanes` columns of each half.
  int64_t panelColumns = op.getGlu() ? lanes : width;
  int64_t panels = kernels::dim(op.getUp(), 1);
  k.loop(panel, lastPanel, 1, [&](Num p) {
    product.call(k, rows, memory, product.panel(k, o.up, expert * panels + p),
                 out);
    // Hidden numbers take the place of the sums, then their places in tiles.
    Num columns =
        k.min(k.integer(inner) - p * panelColumns, k.integer(panelColumns));
    k.loop(0, rows, [&](Num r) {
      auto put = [&](Num offset, bool isVector) {
        Num sums = k.address(k.f32(), out, r * width + offset);
        k.store(
            hiddenOf(k, o, sums, expert, p * panelColumns + offset, isVector),
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
    forTiles(k, rows, [&](Tile tile) {
      Num to = (first + tile.first) * inner + p * panelColumns * tile.rows;
      packTile(k, tile.rows, columns, k.address(k.f32(), g.hidden, to), table,
               [&](Num r) {
                 return k.address(k.f32(), out, (tile.first + r) * width);
               });
    });
  });
}

/// Columns of panels [panel, lastPanel) of the result, for all tokens.
void ExpertFfn::downItem(KernelBuilder &k, const Operands &o, const Groups &g,
                         Num out, Num panel, Num lastPanel) const {
  Type i64 = k.i64();
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
  PanelProduct product = downProduct();
  int64_t panels = kernels::dim(op.getDown(), 1);
  k.loop(0, g.blocks, [&](Num block) {
    Num expert = k.load(i64, g.table, block * 3);
    Num first = k.load(i64, g.table, block * 3 + 1);
    Num rows = k.load(i64, g.table, block * 3 + 2);
    k.loop(panel, lastPanel, 1, [&](Num p) {
      product.call(k, rows, k.address(k.f32(), g.hidden, first * inner),
                   product.panel(k, o.down, expert * panels + p), out);
      k.loop(0, rows, [&](Num r) {
        Num slot = k.load(i64, g.order, first + r);
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

/// The layer for so many tokens that `hidden` stays small.
void ExpertFfn::some(KernelBuilder &k, const Operands &o) const {
  Num total = o.tokens * slots;
  Num memory = k.alloc((2 * experts + 1 + total + (total + experts) * 3) * 8 +
                       total * (4 * inner));
  Groups groups = group(k, o, memory);
  SmallVector<Num> carried = pack(o);
  size_t operandCount = carried.size();
  carried.append({groups.order, groups.table, groups.hidden, groups.blocks});
  auto groupsOf = [&](ArrayRef<Num> inner) {
    ArrayRef<Num> own = inner.drop_front(operandCount);
    return Groups{own[0], own[1], own[2], own[3]};
  };
  int64_t upBytes =
      4 * (blockRows(k.isa) * features + upProduct().memorySize(k.isa)) +
      rowTableBytes(k.isa);
  int64_t downBytes = 4 * downProduct().memorySize(k.isa);
  int64_t upPanels = kernels::dim(op.getUp(), 1),
          downPanels = kernels::dim(op.getDown(), 1);

  Num ways = k.min(
      k.integer(upPanels),
      k.max(k.integer(1), k.integer(16) / k.max(groups.blocks, k.integer(1))));
  Num items = groups.blocks * ways;
  carried.push_back(ways);
  k.parallel(name() + "_up", items,
             kernels::grain(k, items, total * (features * upPanels * width)),
             carried,
             [&](KernelBuilder &k, ArrayRef<Num> inner, Num begin, Num end) {
               Operands o = unpack(inner);
               Groups g = groupsOf(inner);
               Num ways = inner.back(), memory = k.scratch(upBytes);
               k.loop(begin, end, 1, [&](Num item) {
                 Num way = item % ways;
                 upItem(k, o, g, memory, item / ways, way * upPanels / ways,
                        (way + 1) * upPanels / ways);
               });
             });
  carried.pop_back();
  int64_t columns = std::min<int64_t>(downPanels, 16);
  k.parallel(
      name() + "_down", k.integer(columns),
      kernels::grain(k, k.integer(columns),
                     total * (inner * downPanels * width)),
      carried, [&](KernelBuilder &k, ArrayRef<Num> inner, Num begin, Num end) {
        // One item for all columns: each weight is read in one stream.
        downItem(k, unpack(inner), groupsOf(inner), k.scratch(downBytes),
                 begin * downPanels / columns, end * downPanels / columns);
      });
  k.free(memory);
}

void ExpertFfn::write(KernelBuilder &k, ArrayRef<Num> arguments) const {
  Operands all = unpack(arguments);
  // 64 MB of hidden numbers at a time: enough rows to read weights once for
  // many, whatever the number of tokens.
  int64_t most = std::max<int64_t>(64, (64 << 20) / (4 * slots * inner));
  SmallVector<Type> types;
  for (Num n : arguments)
    types.push_back(n.value.getType());
  func::FuncOp part = k.function(
      name() + "_part", types,
      [&](KernelBuilder &k, ArrayRef<Num> inner) { some(k, unpack(inner)); });
  k.loop(k.integer(0), all.tokens, most, [&](Num first) {
    Operands o = all;
    o.tokens = k.min(all.tokens - first, k.integer(most));
    o.x = k.address(k.f32(), all.x, first * features);
    o.ids = k.address(k.i32(), all.ids, first * slots);
    o.weights = k.address(k.f32(), all.weights, first * slots);
    o.y = k.address(k.f32(), all.y, first * outputs);
    if (all.residual)
      o.residual = k.address(k.f32(), all.residual, first * outputs);
    k.call(part, pack(o));
  });
}

void kernels::call(KernelBuilder &k, moert::ExpertFfnOp op) {
  ExpertFfn ffn(k, op);
  SmallVector<Num> arguments = ffn.operands(k);
  SmallVector<Type> types;
  for (Num n : arguments)
    types.push_back(n.value.getType());
  k.call(k.function(ffn.name(), types,
                    [&](KernelBuilder &k, ArrayRef<Num> inner) {
                      ffn.write(k, inner);
                    }),
         arguments);
}
