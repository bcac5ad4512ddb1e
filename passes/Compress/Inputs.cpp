#include "passes/Compress/Inputs.h"

using namespace moe;

MLIR_DEFINE_EXPLICIT_TYPE_ID(moe::CompressInputs)

namespace {
class Preset : public mlir::DialectExtension<Preset, MoEDialect> {
public:
  Preset(WeightSource *weights, const Profile *profile)
      : weights(weights), profile(profile) {}

  void apply(mlir::MLIRContext *, MoEDialect *dialect) const override {
    auto &inputs = dialect->addInterface<CompressInputs>();
    inputs.weights = weights;
    inputs.profile = profile;
  }

private:
  WeightSource *weights;
  const Profile *profile;
};
} // namespace

void CompressInputs::preset(mlir::DialectRegistry &registry,
                            WeightSource *weights, const Profile *profile) {
  registry.addExtension(mlir::TypeID::get<CompressInputs>(),
                        std::make_unique<Preset>(weights, profile));
}

CompressInputs &CompressInputs::of(mlir::MLIRContext *context) {
  auto *dialect = context->getLoadedDialect<MoEDialect>();
  if (auto *inputs = dialect->getRegisteredInterface<CompressInputs>())
    return *const_cast<CompressInputs *>(inputs);
  return dialect->addInterface<CompressInputs>();
}
