#include "passes/Kernels/ExpertFfn.h"

using namespace mlir;
using namespace moe;
using namespace moe::kernels;

std::optional<CodedPanel> ExpertFfn::codedPanel(const Matrix &m) {
  if (!m.coding)
    return std::nullopt;
  int64_t depth = kernels::dim(m.values, 2);
  int64_t rows = *m.block ? std::min(*m.block, depth) : depth;
  return CodedPanel{static_cast<Coding>(*m.coding), rows,
                    kernels::element(m.scales), static_cast<bool>(m.zeros),
                    moert::codeTable(*m.coding)};
}

bool kernels::has(moert::ExpertFfnOp op, const Isa &isa) {
  auto packed = [&](const ExpertFfn::Matrix &m) {
    if (shaped(m.values).getRank() != 4 ||
        op.getPanelWidth(m.values, m.coding) != isa.width() ||
        dim(m.values, 2) < 1)
      return false;
    auto coded = ExpertFfn::codedPanel(m);
    return coded
               ? coded->fits(PanelProduct::blockDepth(isa), dim(m.values, 2)) &&
                     (isNarrow(m.scales) ||
                      llvm::isa<Float8E8M0FNUType>(element(m.scales)))
               : isNarrow(m.values);
  };
  return packed(op.getUpMatrix()) && packed(op.getDownMatrix()) &&
         (!op.getUpLow() || packed(op.getUpLowMatrix())) &&
         (!op.getDownLow() || packed(op.getDownLowMatrix())) &&
         isF32(op.getX()) && dim(op.getX(), 1) != 0 && isF32(op.getWeights()) &&
         isF32(op.getOuts()) && element(op.getIds()).isInteger(32) &&
         !ShapedType::isDynamic(dim(op.getX(), 1)) &&
         !ShapedType::isDynamic(dim(op.getIds(), 1)) &&
         !ShapedType::isDynamic(dim(op.getOuts(), 1)) &&
         (!op.getUpBias() || isNarrow(op.getUpBias())) &&
         (!op.getDownBias() || isNarrow(op.getDownBias())) &&
         (!op.getResidual() || isF32(op.getResidual()));
}

ExpertFfn::ExpertFfn(KernelBuilder &k, moert::ExpertFfnOp op)
    : op(op), experts(kernels::dim(op.getUp(), 0)),
      slots(kernels::dim(op.getIds(), 1)), features(kernels::dim(op.getX(), 1)),
      inner(op.getInner()), outputs(kernels::dim(op.getOuts(), 1)),
      width(k.isa.width()), lanes(k.isa.lanes) {}

std::string ExpertFfn::name() const {
  std::string text = "moe_expert_ffn_";
  llvm::raw_string_ostream os(text);
  auto typeOf = [](const PanelProduct &product) {
    return product.coded ? product.coded->name() : typeName(product.weights);
  };
  os << stringifyActivation(op.getActivation()) << (op.getGlu() ? "_glu_" : "_")
     << features << "x" << inner << "x" << outputs << "_e" << experts << "k"
     << slots << "_" << typeOf(productOf(op.getUpMatrix())) << "_"
     << typeOf(productOf(op.getDownMatrix()));
  if (op.getUpLow())
    os << "_r" << upRank() << "_" << typeOf(productOf(op.getUpLowMatrix()));
  if (op.getDownLow())
    os << "_dr" << downRank() << "_"
       << typeOf(productOf(op.getDownLowMatrix()));
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
  auto placesOf = [&](const Matrix &m) -> CodedPanel::Place {
    return {place(m.values), place(m.scales), place(m.zeros)};
  };
  Operands o{kernels::size(k, op.getX(), 0),
             place(op.getX()),
             place(op.getIds()),
             place(op.getWeights()),
             placesOf(op.getUpMatrix()),
             placesOf(op.getDownMatrix()),
             placesOf(op.getUpLowMatrix()),
             placesOf(op.getDownLowMatrix()),
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
  g.upLow = k.address(k.f32(), g.hidden, total * inner);
  g.downLow = k.address(k.f32(), g.upLow, total * upRank());
  return g;
}

/// The layer for so many tokens that `hidden` stays small.
void ExpertFfn::some(KernelBuilder &k, const Operands &o) const {
  Num total = o.tokens * slots;
  Num memory = k.alloc((2 * experts + 1 + total + (total + experts) * 3) * 8 +
                       total * (4 * (inner + upRank() + downRank())));
  Groups groups = group(k, o, memory);
  SmallVector<Num> carried = pack(o);
  size_t operandCount = carried.size();
  carried.append({groups.order, groups.table, groups.hidden, groups.upLow,
                  groups.downLow, groups.blocks});
  auto groupsOf = [&](ArrayRef<Num> inner) {
    ArrayRef<Num> own = inner.drop_front(operandCount);
    return Groups{own[0], own[1], own[2], own[3], own[4], own[5]};
  };
  // Blocks of rows times ranges of panels of a matrix.
  using Work = void (ExpertFfn::*)(KernelBuilder &, const Operands &,
                                   const Groups &, const Item &) const;
  auto phase = [&](StringRef suffix, const Matrix &m, bool gathers, Work work) {
    PanelProduct product = productOf(m);
    int64_t panels = kernels::dim(m.values, 1);
    int64_t bytes = 4 * product.memorySize(k.isa) + rowTableBytes(k.isa);
    if (gathers)
      bytes += 4 * blockRows(k.isa) * features;
    Num ways = k.min(k.integer(panels),
                     k.max(k.integer(1),
                           k.integer(16) / k.max(groups.blocks, k.integer(1))));
    Num items = groups.blocks * ways;
    carried.push_back(ways);
    k.parallel(
        name() + suffix.str(), items,
        kernels::grain(k, items, total * (product.depth * panels * width)),
        carried,
        [&](KernelBuilder &k, ArrayRef<Num> inner, Num begin, Num end) {
          Operands o = unpack(inner);
          Groups g = groupsOf(inner);
          Num ways = inner.back(), memory = k.scratch(bytes);
          k.loop(begin, end, 1, [&](Num item) {
            Num way = item % ways;
            (this->*work)(k, o, g,
                          {memory, item / ways, way * panels / ways,
                           (way + 1) * panels / ways});
          });
        });
    carried.pop_back();
  };
  bool isLow = bool(op.getUpLow());
  if (isLow)
    phase("_up_low", op.getUpLowMatrix(), true, &ExpertFfn::upLowItem);
  phase("_up", op.getUpMatrix(), !isLow, &ExpertFfn::upItem);
  if (op.getDownLow())
    phase("_down_low", op.getDownLowMatrix(), false, &ExpertFfn::downLowItem);
  PanelProduct down = productOf(op.getDownMatrix());
  int64_t downBytes = 4 * down.memorySize(k.isa);
  int64_t downPanels = kernels::dim(op.getDown(), 1);
  int64_t columns = std::min<int64_t>(downPanels, 16);
  k.parallel(
      name() + "_down", k.integer(columns),
      kernels::grain(k, k.integer(columns),
                     total * (down.depth * downPanels * width)),
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
