#include "passes/Compress/ProfileColumns.h"

#include "mlir/IR/Builders.h"
#include "passes/Compress/Profile.h"

using namespace mlir;
using namespace moe;

static constexpr StringLiteral kColumns = "moe.profile_columns";

/// `{columns = [array<i64: 0>, array<i64: 1, 2>, array<i64>], count = 4}`.
static bool read(DictionaryAttr noted, int64_t entries, int64_t &count,
                 std::vector<std::vector<int64_t>> &columns) {
  auto all = noted ? noted.getAs<IntegerAttr>("count") : IntegerAttr();
  auto lists = noted ? noted.getAs<ArrayAttr>("columns") : ArrayAttr();
  if (!all || !lists || static_cast<int64_t>(lists.size()) != entries)
    return false;
  count = all.getInt();
  for (Attribute list : lists) {
    auto behind = dyn_cast<DenseI64ArrayAttr>(list);
    if (!behind || llvm::any_of(behind.asArrayRef(), [&](int64_t column) {
          return column < 0 || column >= count;
        }))
      return false;
    columns.push_back(behind.asArrayRef().vec());
  }
  return true;
}

FailureOr<ProfileColumns> ProfileColumns::of(const MoELayer &layer) {
  PoolOp pool = layer.pool;
  ProfileColumns result;
  Attribute noted = pool->getAttr(kColumns);
  if (!noted) {
    result.count = pool.getNumEntries();
    for (int64_t e = 0; e < result.count; ++e)
      result.columns.push_back({e});
    return result;
  }
  if (!read(dyn_cast<DictionaryAttr>(noted), pool.getNumEntries(), result.count,
            result.columns))
    return emitLayerError(layer)
           << "what its pool says of the profile's columns does not fit it: "
           << noted;
  return result;
}

void ProfileColumns::note(MoELayer &layer) {
  Builder builder(layer.pool.getContext());
  SmallVector<Attribute> lists;
  for (const std::vector<int64_t> &behind : columns)
    lists.push_back(builder.getDenseI64ArrayAttr(behind));
  layer.pool->setAttr(
      kColumns,
      builder.getDictionaryAttr(
          {builder.getNamedAttr("columns", builder.getArrayAttr(lists)),
           builder.getNamedAttr("count", builder.getI64IntegerAttr(count))}));
}

void ProfileColumns::change(MoELayer &layer, ArrayRef<MixedColumn> made) {
  std::vector<std::vector<int64_t>> now;
  for (const MixedColumn &column : made) {
    now.emplace_back();
    for (auto [place, weight] : column)
      llvm::append_range(now.back(), columns[place]);
  }
  columns = std::move(now);
  note(layer);
}

void ProfileColumns::add(MoELayer &layer, int64_t added) {
  columns.resize(columns.size() + added);
  note(layer);
}

void ProfileColumns::forget(ModuleOp module) {
  for (PoolOp pool : module.getOps<PoolOp>())
    pool->removeAttr(kColumns);
}

FailureOr<std::optional<Numbers>> moe::measureOfEntries(const MoELayer &layer,
                                                        const Profile &profile,
                                                        StringRef name) {
  auto numbers = profile.get(layer.name, name);
  if (!numbers)
    return std::optional<Numbers>();
  auto columns = ProfileColumns::of(layer);
  if (failed(columns))
    return failure();
  PoolOp pool = layer.pool;
  int64_t experts = pool.getNumEntries();
  if (numbers->rows != columns->getCount())
    return emitLayerError(layer)
           << "profile '" << profile.getPath() << "' is about " << numbers->rows
           << " experts, the layer "
           << (pool->hasAttr(kColumns) ? "had " : "has ")
           << columns->getCount();
  Numbers result(experts, numbers->columns);
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t column : columnsOf(pool, e))
      for (int64_t behind : columns->of(column))
        for (int64_t c = 0; c < numbers->columns; ++c)
          result.at(e, c) += numbers->at(behind, c);
  return std::optional<Numbers>(std::move(result));
}
