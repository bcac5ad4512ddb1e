#ifndef MOE_PASSES_COMPRESS_INPUTS_H
#define MOE_PASSES_COMPRESS_INPUTS_H

#include "dialects/MoE/MoEDialect.h"
#include "mlir/IR/DialectInterface.h"

namespace moe {
class MomentsMemo;
class Profile;
class RouterNorms;
class WeightSource;

/// What passes look at besides the module: bytes of weights, a profile of
/// the uncompressed model, and routers of the one before fine-tuning, where
/// there are such. Hangs on the context, so that
/// passes find it however they were made.
class CompressInputs : public mlir::DialectInterface::Base<CompressInputs> {
public:
  explicit CompressInputs(mlir::Dialect *dialect) : Base(dialect) {}

  /// Every context of `registry` that loads the dialect has these inputs.
  static void preset(mlir::DialectRegistry &registry, WeightSource *weights,
                     const Profile *profile, const RouterNorms *base);

  /// The inputs of a context; made empty on first use.
  static CompressInputs &of(mlir::MLIRContext *context);

  WeightSource *weights = nullptr;
  const Profile *profile = nullptr;
  /// For those who run many steps on copies of one model; may be null.
  MomentsMemo *moments = nullptr;
  const RouterNorms *base = nullptr;
};

} // namespace moe

MLIR_DECLARE_EXPLICIT_TYPE_ID(moe::CompressInputs)

#endif // MOE_PASSES_COMPRESS_INPUTS_H
