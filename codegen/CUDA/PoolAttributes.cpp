#include "codegen/CUDA/PoolAttributes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
/// A field that an attribute has as an integer.
template <typename Integer, typename Value>
void field(Integer integer, StringRef name, Value &value) {
  auto number = static_cast<int64_t>(value);
  integer(name, number);
  value = static_cast<Value>(number);
}

template <typename Integer>
void forCoded(Integer integer, StringRef which,
              std::optional<rt::CodedRows> &coded) {
  auto name = [&](StringRef part) { return (which + "_" + part).str(); };
  bool is = coded.has_value();
  rt::CodedRows rows = coded.value_or(rt::CodedRows());
  field(integer, name("coded"), is);
  field(integer, name("coding"), rows.coding);
  field(integer, name("scale"), rows.scale);
  field(integer, name("block"), rows.block);
  field(integer, name("zeros"), rows.hasZeros);
  coded = is ? std::optional(rows) : std::nullopt;
}

/// The fields of a pool by name, to write or to read.
template <typename Integer, typename Real>
void forFields(Pool &pool, Integer integer, Real real) {
  LayerShape &shape = pool.shape;
  integer("experts", shape.experts);
  integer("inputs", shape.inputs);
  integer("hidden", shape.hidden);
  integer("outputs", shape.outputs);
  integer("top_k", shape.topK);
  field(integer, "glu", shape.isGlu);
  field(integer, "activation", shape.activation);
  field(integer, "element", shape.element);
  field(integer, "tf32", shape.tf32);
  field(integer, "scale_input", shape.scaleInput);
  real("alpha", shape.alpha);
  real("beta", shape.beta);
  real("limit", shape.limit);
  real("output_scale", shape.outputScale);
  forCoded(integer, "up", shape.upCoded);
  forCoded(integer, "down", shape.downCoded);
  integer("up_rank", shape.upRank);
  integer("down_rank", shape.downRank);
  forCoded(integer, "up_low", shape.upLowCoded);
  forCoded(integer, "down_low", shape.downLowCoded);
  integer("entries", pool.entries);
  integer("panel_width", pool.panelWidth);
  integer("up_bias", pool.upBias);
  integer("down_bias", pool.downBias);
  integer("plain", pool.element);
  field(integer, "matrix", pool.isMatrix);
  shape.hasUpBias = pool.upBias != 0;
  shape.hasDownBias = pool.downBias != 0;
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
          shape.upRank >= 0 && shape.downRank >= 0 && pool.panelWidth > 0 &&
          shape.activation >= Activation::Identity &&
          shape.activation <= Activation::Gelu &&
          shape.element >= Element::BF16 && shape.element <= Element::F32 &&
          shape.isSupported();
  return good ? std::optional(pool) : std::nullopt;
}
