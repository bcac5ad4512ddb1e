#include "frontends/HuggingFace/ModelConfig.h"

#include "frontends/HuggingFace/JsonValues.h"
#include "runtime/Core/Text.h"
#include "llvm/ADT/StringSwitch.h"
#include <set>

using namespace mlir;
using namespace moe;
using namespace moe::hf;

static constexpr Family kFamilies[] = {
    {"deepseek_v2", "mlp", "gate_proj", "up_proj", "down_proj",
     "n_routed_experts", "moe_intermediate_size", Routing::SoftmaxGroups,
     MoELayers::BehindDense},
    {"deepseek_v3", "mlp", "gate_proj", "up_proj", "down_proj",
     "n_routed_experts", "moe_intermediate_size", Routing::SigmoidGroups,
     MoELayers::BehindDense},
    {"mixtral", "block_sparse_moe", "w1", "w3", "w2", "num_local_experts",
     "intermediate_size", Routing::SoftmaxNormalised, MoELayers::All},
    {"olmoe", "mlp", "gate_proj", "up_proj", "down_proj", "num_experts",
     "intermediate_size", Routing::SoftmaxMaybeNormalised, MoELayers::All},
    {"qwen2_moe", "mlp", "gate_proj", "up_proj", "down_proj", "num_experts",
     "moe_intermediate_size", Routing::SoftmaxMaybeNormalised, MoELayers::Step},
    {"qwen3_moe", "mlp", "gate_proj", "up_proj", "down_proj", "num_experts",
     "moe_intermediate_size", Routing::SoftmaxMaybeNormalised, MoELayers::Step},
};

std::string ModelConfig::block(int64_t layer) const {
  return ("model.layers." + Twine(layer) + "." + family->block).str();
}

std::string ModelConfig::router(StringRef block) const {
  return (block + ".gate.weight").str();
}

std::string ModelConfig::choiceBias(StringRef block) const {
  return (block + ".gate.e_score_correction_bias").str();
}

std::string ModelConfig::matrix(StringRef block, int64_t expert,
                                StringRef name) const {
  StringRef own = name == "gate" ? family->gate
                  : name == "up" ? family->up
                                 : family->down;
  return (block + ".experts." + Twine(expert) + "." + own).str();
}

namespace {
/// Values of config.json by name; null means absent there.
class Reader {
public:
  Reader(const rt::Json &config, function_ref<InFlightDiagnostic()> emitError)
      : config(config), emitError(emitError) {}

  LogicalResult family(ModelConfig &result);
  LogicalResult layers(ModelConfig &result, uint64_t tensors);
  LogicalResult routing(ModelConfig &result);
  LogicalResult activation(ModelConfig &result);
  /// A number of at least `least`; without `fallback` it must be there.
  LogicalResult number(StringRef key, int64_t least, int64_t &to,
                       std::optional<int64_t> fallback = std::nullopt);
  LogicalResult flag(StringRef key, bool &to);

private:
  const rt::Json *find(StringRef key) {
    const rt::Json *value = config.find({key.data(), key.size()});
    return value && value->kind == rt::Json::Kind::Null ? nullptr : value;
  }
  InFlightDiagnostic wrong(StringRef key) {
    return emitError() << "'" << key << "' ";
  }
  LogicalResult groups(ModelConfig &result);
  LogicalResult text(StringRef key, StringRef expected);

  const rt::Json &config;
  function_ref<InFlightDiagnostic()> emitError;
};
} // namespace

LogicalResult Reader::number(StringRef key, int64_t least, int64_t &to,
                             std::optional<int64_t> fallback) {
  const rt::Json *value = find(key);
  if (!value && fallback) {
    to = *fallback;
    return success();
  }
  if (!value)
    return wrong(key) << "is missing";
  std::optional<uint64_t> number = value->asUnsigned();
  if (!number || *number > INT32_MAX || static_cast<int64_t>(*number) < least)
    return wrong(key) << "must be a whole number from " << least << " to "
                      << INT32_MAX;
  to = static_cast<int64_t>(*number);
  return success();
}

LogicalResult Reader::flag(StringRef key, bool &to) {
  const rt::Json *value = find(key);
  if (!value)
    return success();
  if (value->kind != rt::Json::Kind::Bool)
    return wrong(key) << "must be true or false";
  to = value->text == "true";
  return success();
}

LogicalResult Reader::text(StringRef key, StringRef expected) {
  const rt::Json *value = find(key);
  if (!value || (value->isString() && value->text == expected))
    return success();
  return wrong(key) << "is '" << rt::printable(value->text)
                    << "'; of this model_type '" << expected << "' is known";
}

LogicalResult Reader::family(ModelConfig &result) {
  const rt::Json *type = find("model_type");
  std::string known;
  for (const Family &family : kFamilies) {
    if (type && type->isString() && family.type == type->text)
      result.family = &family;
    known += (known.empty() ? "" : ", ") + family.type.str();
  }
  if (!result.family)
    return emitError() << (type ? "model_type '" + rt::printable(type->text) +
                                      "' is not known"
                                : "has no model_type")
                       << "; known are " << known;
  if (find("quantization_config"))
    return wrong("quantization_config")
           << "says that the weights are quantised in a way that is not read; "
              "take the model as it was before";
  return success();
}

LogicalResult Reader::layers(ModelConfig &result, uint64_t tensors) {
  int64_t count = 0, step = 1, dense = 0;
  if (failed(number("num_hidden_layers", 1, count)))
    return failure();
  if (static_cast<uint64_t>(count) > tensors)
    return wrong("num_hidden_layers")
           << "is " << count << ", but all weights together are " << tensors
           << " tensors";
  std::set<int64_t> without;
  if (result.family->layers == MoELayers::Step) {
    if (failed(number("decoder_sparse_step", 1, step, 1)))
      return failure();
    if (const rt::Json *list = find("mlp_only_layers")) {
      for (const rt::Json &item : list->items)
        without.insert(
            static_cast<int64_t>(item.asUnsigned().value_or(INT32_MAX)));
      if (!list->isArray() || without.count(INT32_MAX))
        return wrong("mlp_only_layers") << "must be a list of layers' numbers";
    }
  } else if (result.family->layers == MoELayers::BehindDense) {
    if (failed(number("first_k_dense_replace", 0, dense, 0)) ||
        failed(number("moe_layer_freq", 1, step, 1)))
      return failure();
  }
  for (int64_t layer = dense; layer < count; ++layer) {
    // Qwen counts layers from 1, DeepSeek from 0.
    int64_t place = layer + (result.family->layers == MoELayers::Step);
    if (place % step == 0 && !without.count(layer))
      result.layers.push_back(layer);
  }
  if (result.layers.empty())
    return emitError() << "gives none of its " << count << " layers experts";
  return success();
}

LogicalResult Reader::groups(ModelConfig &result) {
  int64_t groups = 1, top = 1;
  if (failed(number("n_group", 1, groups, 1)) ||
      failed(number("topk_group", 1, top, 1)))
    return failure();
  if (groups == 1)
    return success();
  if (top > groups)
    return wrong("topk_group") << "is " << top << ", but n_group is " << groups;
  result.groups = groups;
  result.topGroups = top;
  return success();
}

LogicalResult Reader::routing(ModelConfig &result) {
  bool normalises = result.family->routing == Routing::SoftmaxNormalised;
  if (!normalises && failed(flag("norm_topk_prob", normalises)))
    return failure();
  switch (result.family->routing) {
  case Routing::SoftmaxMaybeNormalised:
  case Routing::SoftmaxNormalised:
    result.norm = normalises ? Norm::Selected : Norm::None;
    return success();
  case Routing::SoftmaxGroups:
  case Routing::SigmoidGroups:
    break;
  }
  if (const rt::Json *scale = find("routed_scaling_factor")) {
    std::optional<double> value = finiteNumber(*scale);
    if (!value || *value <= 0)
      return wrong("routed_scaling_factor") << "must be a number above 0";
    result.scale = *value;
  }
  if (result.family->routing == Routing::SigmoidGroups) {
    result.score = Score::Sigmoid;
    result.groupScore = GroupScore::Top2;
    result.hasChoiceBias = true;
    if (normalises)
      result.norm = Norm::Selected, result.normEpsilon = 1e-20;
    if (failed(text("scoring_func", "sigmoid")) ||
        failed(text("topk_method", "noaux_tc")))
      return failure();
    return groups(result);
  }
  // The model's own code and transformers disagree about both together.
  if (normalises && result.scale != 1)
    return wrong("norm_topk_prob")
           << "goes with a routed_scaling_factor of 1 in this model_type";
  if (normalises)
    result.norm = Norm::Selected, result.normEpsilon = 1e-20;
  if (failed(text("scoring_func", "softmax")))
    return failure();
  const rt::Json *method = find("topk_method");
  if (!method || method->text == "greedy")
    return success();
  if (failed(text("topk_method", "group_limited_greedy")))
    return failure();
  return groups(result);
}

LogicalResult Reader::activation(ModelConfig &result) {
  const rt::Json *name = find("hidden_act");
  StringRef text = name ? StringRef(name->text) : "silu";
  auto known =
      llvm::StringSwitch<std::optional<Activation>>(text)
          .Cases({"silu", "swish"}, Activation::Silu)
          .Case("gelu", Activation::Gelu)
          .Cases({"gelu_pytorch_tanh", "gelu_new"}, Activation::GeluTanh)
          .Case("relu", Activation::Relu)
          .Default(std::nullopt);
  if (!known || (name && !name->isString()))
    return wrong("hidden_act")
           << "is '" << rt::printable(text)
           << "'; known are silu, swish, gelu, gelu_pytorch_tanh, gelu_new, "
              "relu";
  result.activation = *known;
  return success();
}

FailureOr<ModelConfig>
moe::hf::readModelConfig(const rt::Json &config, uint64_t tensors,
                         function_ref<InFlightDiagnostic()> emitError) {
  ModelConfig result;
  Reader reader(config, emitError);
  if (failed(reader.family(result)) ||
      failed(reader.number("hidden_size", 1, result.hidden)) ||
      failed(reader.number(result.family->experts, 1, result.experts)) ||
      failed(reader.number(kTopK, 1, result.topK)) ||
      failed(reader.number(result.family->inner, 1, result.inner)) ||
      failed(reader.flag("tie_word_embeddings", result.tiesEmbeddings)) ||
      failed(reader.layers(result, tensors)) ||
      failed(reader.routing(result)) || failed(reader.activation(result)))
    return failure();
  return result;
}
