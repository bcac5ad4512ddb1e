#include "codegen/CUDA/PoolAttributes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
/// The fields of a pool by name, to write or to read.
template <typename Integer, typename Real>
void forFields(Pool &pool, Integer integer, Real real) {
  LayerShape &shape = pool.shape;
  integer("experts", shape.experts);
  integer("inputs", shape.inputs);
  integer("hidden", shape.hidden);
  integer("outputs", shape.outputs);
  integer("top_k", shape.topK);
  int64_t isGlu = shape.isGlu,
          activation = static_cast<int64_t>(shape.activation);
  integer("glu", isGlu);
  integer("activation", activation);
  shape.isGlu = isGlu != 0;
  shape.activation = static_cast<Activation>(activation);
  real("alpha", shape.alpha);
  real("beta", shape.beta);
  real("limit", shape.limit);
  integer("entries", pool.entries);
  integer("panel_width", pool.panelWidth);
}
} // namespace

DictionaryAttr moe::cuda::toAttribute(MLIRContext *context, const Pool &pool) {
  Builder builder(context);
  NamedAttrList fields;
  Pool copy = pool;
  forFields(
      copy,
      [&](StringRef name, int64_t &value) {
        fields.set(name, builder.getI64IntegerAttr(value));
      },
      [&](StringRef name, double &value) {
        fields.set(name, builder.getF64FloatAttr(value));
      });
  return fields.getDictionary(context);
}

std::optional<Pool> moe::cuda::fromAttribute(Attribute attribute) {
  auto fields = dyn_cast_or_null<DictionaryAttr>(attribute);
  if (!fields)
    return std::nullopt;
  Pool pool{};
  bool good = true;
  forFields(
      pool,
      [&](StringRef name, int64_t &value) {
        auto field = fields.getAs<IntegerAttr>(name);
        good &= static_cast<bool>(field);
        value = field ? field.getInt() : 0;
      },
      [&](StringRef name, double &value) {
        auto field = fields.getAs<FloatAttr>(name);
        good &= static_cast<bool>(field);
        value = field ? field.getValueAsDouble() : 0;
      });
  const LayerShape &shape = pool.shape;
  good &= shape.experts > 0 && shape.inputs > 0 && shape.hidden > 0 &&
          shape.outputs > 0 && shape.topK > 0 && pool.entries > 0 &&
          pool.panelWidth > 0 && shape.activation >= Activation::Identity &&
          shape.activation <= Activation::GeluTanh;
  return good ? std::optional(pool) : std::nullopt;
}
