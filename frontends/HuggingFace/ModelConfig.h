#ifndef MOE_FRONTENDS_HUGGINGFACE_MODELCONFIG_H
#define MOE_FRONTENDS_HUGGINGFACE_MODELCONFIG_H

#include "dialects/MoE/MoEOps.h"
#include "runtime/Core/Json.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace moe::hf {

/// How a family of models routes.
enum class Routing {
  SoftmaxMaybeNormalised, ///< `norm_topk_prob` says whether
  SoftmaxNormalised,
  SoftmaxGroups, ///< DeepSeek-V2
  SigmoidGroups, ///< DeepSeek-V3
};

/// Which of its layers have experts.
enum class MoELayers {
  All,
  Step,       ///< `decoder_sparse_step`, but `mlp_only_layers`
  BehindDense ///< `first_k_dense_replace`, `moe_layer_freq`
};

/// What models of one `model_type` call things.
struct Family {
  llvm::StringLiteral type;
  llvm::StringLiteral block;          ///< of tensors: "mlp"
  llvm::StringLiteral gate, up, down; ///< of tensors: "gate_proj"
  llvm::StringLiteral experts, inner; ///< of config.json: "num_experts"
  Routing routing;
  MoELayers layers;
};

/// What config.json says about the MoE layers.
struct ModelConfig {
  const Family *family = nullptr;
  int64_t hidden = 0, experts = 0, topK = 0, inner = 0;
  Activation activation = Activation::Silu;
  Score score = Score::Softmax;
  Norm norm = Norm::None;
  double normEpsilon = 0, scale = 1;
  int64_t groups = 0, topGroups = 0; ///< 0: no groups
  GroupScore groupScore = GroupScore::Max;
  bool hasChoiceBias = false;
  bool tiesEmbeddings = false;
  llvm::SmallVector<int64_t> layers; ///< decoder layers with experts

  /// "model.layers.0.mlp", the name of the layer.
  std::string block(int64_t layer) const;
  std::string router(llvm::StringRef block) const;
  std::string choiceBias(llvm::StringRef block) const;
  /// Matrix `gate`, `up` or `down` of an expert, without ".weight".
  std::string matrix(llvm::StringRef block, int64_t expert,
                     llvm::StringRef name) const;
};

inline constexpr llvm::StringLiteral kTopK = "num_experts_per_tok";

/// Reads it; what is missing or out of range fails with a message. A layer has
/// one of the model's `tensors` at least, so that no list gets longer.
mlir::FailureOr<ModelConfig>
readModelConfig(const rt::Json &config, uint64_t tensors,
                llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_MODELCONFIG_H
