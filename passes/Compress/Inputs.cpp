#include "passes/Compress/Inputs.h"

using namespace moe;

MLIR_DEFINE_EXPLICIT_TYPE_ID(moe::CompressInputs)

namespace {
class Preset : public mlir::DialectExtension<Preset, MoEDialect> {
public:
  Preset(WeightSource *weights, const Profile *profile, const RouterNorms *base)
      : weights(weights), profile(profile), base(base) {}

  void apply(mlir::MLIRContext *, MoEDialect *dialect) const override {
    auto &inputs = dialect->addInterface<CompressInputs>();
    inputs.weights = weights;
    inputs.profile = profile;
    inputs.base = base;
  }

private:
  WeightSource *weights;
  const Profile *profile;
  const RouterNorms *base;
};
} // namespace

void CompressInputs::preset(mlir::DialectRegistry &registry,
                            WeightSource *weights, const Profile *profile,
                            const RouterNorms *base) {
  registry.addExtension(mlir::TypeID::get<CompressInputs>(),
                        std::make_unique<Preset>(weights, profile, base));
}

CompressInputs &CompressInputs::of(mlir::MLIRContext *context) {
  auto *dialect = context->getLoadedDialect<MoEDialect>();
  if (auto *inputs = dialect->getRegisteredInterface<CompressInputs>())
    return *const_cast<CompressInputs *>(inputs);
  return dialect->addInterface<CompressInputs>();
}
