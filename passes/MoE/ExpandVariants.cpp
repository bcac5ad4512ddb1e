#include "dialects/MoE/MoEOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "passes/MoE/Passes.h"
#include "llvm/ADT/StringSet.h"

namespace moe {
#define GEN_PASS_DEF_EXPANDVARIANTSPASS
#include "passes/MoE/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

/// How many ways of storage the entry has, the body included.
static int64_t countStorages(ExpertOpInterface entry) {
  auto expert = dyn_cast<ExpertOp>(entry.getOperation());
  return expert && expert.getVariants()
             ? 1 + static_cast<int64_t>(expert.getVariants()->size())
             : 1;
}

/// `ids + entries * variants`, where there is an expert.
static Value moveIds(OpBuilder &builder, Location loc, Value ids,
                     Value variants, int64_t entries) {
  auto type = cast<RankedTensorType>(ids.getType());
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, ids);
  Value init =
      tensor::EmptyOp::create(builder, loc, sizes, type.getElementType());
  AffineMap map = builder.getMultiDimIdentityMap(type.getRank());
  SmallVector<utils::IteratorType> loops(type.getRank(),
                                         utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, TypeRange{init.getType()}, ValueRange{ids, variants},
             ValueRange{init}, ArrayRef<AffineMap>{map, map, map}, loops,
             [&](OpBuilder &b, Location, ValueRange at) {
               auto number = [&](int32_t value) {
                 return arith::ConstantOp::create(b, loc,
                                                  b.getI32IntegerAttr(value));
               };
               Value moved = arith::AddIOp::create(
                   b, loc, at[0],
                   arith::MulIOp::create(
                       b, loc, at[1], number(static_cast<int32_t>(entries))));
               Value none = arith::CmpIOp::create(
                   b, loc, arith::CmpIPredicate::slt, at[0], number(0));
               Value id = arith::SelectOp::create(b, loc, none, at[0], moved);
               linalg::YieldOp::create(b, loc, id);
             })
      .getResult(0);
}

namespace {
struct ExpandVariantsPass
    : moe::impl::ExpandVariantsPassBase<ExpandVariantsPass> {
  using ExpandVariantsPassBase::ExpandVariantsPassBase;

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    getOperation().walk([&](ApplyOp apply) {
      if (!apply.getVariants().empty())
        expand(apply, symbols);
    });
  }

  void expand(ApplyOp apply, SymbolTable &symbols) {
    auto pool = symbols.lookup<PoolOp>(apply.getPool());
    PoolOp &whole = pools[pool];
    if (!whole)
      whole = expand(pool, symbols);
    OpBuilder builder(apply);
    SmallVector<Value> ids;
    for (auto [own, variants] : llvm::zip(apply.getIds(), apply.getVariants()))
      ids.push_back(moveIds(builder, apply.getLoc(), own, variants,
                            pool.getNumEntries()));
    apply.getIdsMutable().assign(ids);
    apply.getVariantsMutable().clear();
    apply.setPool(whole.getSymName());
  }

  /// What stands between the name of an entry and the number of a storage, so
  /// that no entry has the name yet.
  static std::string freeSuffix(ArrayRef<ExpertOpInterface> entries,
                                int64_t storages) {
    llvm::StringSet<> taken;
    for (ExpertOpInterface entry : entries)
      taken.insert(entry.getEntryName());
    std::string suffix = ".storage";
    auto isFree = [&] {
      for (ExpertOpInterface entry : entries)
        for (int64_t storage = 1; storage < storages; ++storage)
          if (taken.contains(
                  (entry.getEntryName() + suffix + llvm::Twine(storage)).str()))
            return false;
      return true;
    };
    while (!isFree())
      suffix += "_";
    return suffix;
  }

  /// The entries of all storages, storage by storage.
  static PoolOp expand(PoolOp pool, SymbolTable &symbols) {
    OpBuilder builder(pool);
    auto whole = PoolOp::create(builder, pool.getLoc(),
                                (pool.getSymName() + ".variants").str());
    whole->remove();
    symbols.insert(whole, Block::iterator(pool.getOperation()));
    builder.setInsertionPointToEnd(&whole.getBody().front());
    int64_t storages = 1;
    auto entries = pool.getEntries();
    for (ExpertOpInterface entry : entries)
      storages = std::max(storages, countStorages(entry));
    std::string suffix = freeSuffix(entries, storages);
    auto nameOf = [&](ExpertOpInterface entry, int64_t storage) {
      std::string name = entry.getEntryName().str();
      return storage ? name + suffix + std::to_string(storage) : name;
    };
    for (int64_t storage = 0; storage < storages; ++storage)
      for (auto [e, entry] : llvm::enumerate(entries)) {
        ExpertOpInterface target =
            pool.getResolvedEntry(static_cast<int64_t>(e));
        bool isStored = storage < countStorages(target);
        if ((storage && !isStored) || target != entry) {
          AliasOp::create(builder, entry.getLoc(), nameOf(entry, storage),
                          nameOf(target, isStored ? storage : 0));
          continue;
        }
        Operation *copy = builder.clone(*entry.getOperation());
        auto expert = dyn_cast<ExpertOp>(copy);
        if (!expert)
          continue;
        expert.removeVariantsAttr();
        expert.setEntryName(nameOf(entry, storage));
        if (storage == 0)
          continue;
        ArrayAttr variants =
            *cast<ExpertOp>(entry.getOperation()).getVariants();
        auto variant = cast<VariantAttr>(variants[storage - 1]);
        for (NamedAttribute matrix : variant.getWeights())
          expert->setAttr(matrix.getName(), matrix.getValue());
      }
    return whole;
  }

  llvm::DenseMap<Operation *, PoolOp> pools;
};
} // namespace
