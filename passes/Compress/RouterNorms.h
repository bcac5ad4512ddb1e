#ifndef MOE_PASSES_COMPRESS_ROUTERNORMS_H
#define MOE_PASSES_COMPRESS_ROUTERNORMS_H

#include "passes/Compress/Calibration.h"
#include <optional>

namespace moe {

/// The lengths of the columns of a model's routers; of the model before
/// fine-tuning nothing else is looked at.
class RouterNorms {
public:
  /// Of the layers of a raised module, which was read from `path`.
  static mlir::FailureOr<RouterNorms>
  of(mlir::ModuleOp module, WeightSource &weights, llvm::StringRef path);

  /// How much longer each column of the layer's router is than here, with sign:
  /// the difference of lengths, not the length of the difference (arXiv
  /// 2405.16646, section 3). Layers are matched by their order; fails with an
  /// error where their numbers or the sizes of their routers differ.
  mlir::FailureOr<std::vector<double>> growth(const MoELayer &layer,
                                              WeightSource &weights) const;

private:
  struct Router {
    int64_t features = 0;
    std::vector<double> norms;
  };
  std::string path;
  std::vector<std::optional<Router>> routers;
};

} // namespace moe

#endif // MOE_PASSES_COMPRESS_ROUTERNORMS_H
