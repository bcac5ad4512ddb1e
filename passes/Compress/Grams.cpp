#include "passes/Compress/Grams.h"

#include "mlir/IR/Builders.h"
#include "passes/Analysis/Hidden.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Profile.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moe;

/// Sampled rows per hidden unit that are enough for its sums of products.
static constexpr int64_t kRowsPerUnit = 4;

/// A measure of the profile as a bank that lies in its file.
static SliceAttr addMeasure(const MoELayer &layer, const Profile &profile,
                            StringRef name, FloatType type,
                            SymbolTable &symbols) {
  const rt::ProfileTensor *tensor =
      profile.getStored().find(layer.name)->find(name.str());
  OpBuilder builder(type.getContext());
  PoolOp pool = layer.pool;
  OperationState state(pool.getLoc(), BankOp::getOperationName());
  StringRef archive = llvm::sys::path::filename(profile.getPath());
  int64_t bytes = static_cast<int64_t>(tensor->bytes.size());
  BankOp::build(builder, state,
                builder.getStringAttr(pool.getSymName() + "." + name),
                builder.getStringAttr(archive), StringAttr(),
                builder.getI64IntegerAttr(static_cast<int64_t>(tensor->offset)),
                builder.getI64IntegerAttr(bytes), Attribute(),
                TypeAttr::get(RankedTensorType::get(tensor->shape, type)));
  auto bank = cast<BankOp>(Operation::create(state));
  symbols.insert(bank, Block::iterator(pool.getOperation()));
  return wholeOf(bank);
}

FailureOr<LayerGrams> LayerGrams::of(const MoELayer &layer,
                                     const CompressInputs &inputs, int64_t rows,
                                     SymbolTable &symbols) {
  const Profile &profile = *inputs.profile;
  auto calibration = Calibration::of(layer, profile, *inputs.weights, rows);
  if (failed(calibration) || failed(calibration->checkUnscaled()))
    return failure();
  if (!profile.getStored().find(layer.name)->find("input_gram"))
    return emitLayerError(layer)
           << "profile '" << profile.getPath()
           << "' has no 'input_gram' of it; make one with a binary that was "
              "compiled with --instrument=gram";
  inputs.weights->bind(llvm::sys::path::filename(profile.getPath()),
                       profile.getPath());
  MLIRContext *context = symbols.getOp()->getContext();
  LayerGrams result;
  result.layer = layer;
  result.calibration = std::move(*calibration);
  result.inputs = addMeasure(layer, profile, "input_gram",
                             Float64Type::get(context), symbols);
  result.sample =
      addMeasure(layer, profile, "sample", Float32Type::get(context), symbols);
  return result;
}

FailureOr<Attribute> LayerGrams::of(int64_t e, ExpertOp expert,
                                    StringRef matrix,
                                    const SymbolTable &symbols) const {
  if (matrix != "down")
    return Attribute(inputs);
  auto hidden = HiddenLayer::of(expert);
  if (failed(hidden))
    return failure();
  const Numbers &gates = calibration->getEntryGates();
  SmallVector<int64_t> routed, all;
  for (int64_t r = 0; r < gates.rows; ++r) {
    all.push_back(r);
    if (gates.at(r, e) != 0)
      routed.push_back(r);
  }
  MLIRContext *context = expert.getContext();
  // Fewer say more about themselves than about what an expert reads: what
  // they lose would be made up for at the cost of all other tokens.
  auto shape = shapeOf(layer, expert, "down", symbols);
  if (failed(shape))
    return failure();
  bool enough =
      static_cast<int64_t>(routed.size()) >= kRowsPerUnit * shape->back();
  auto rows =
      PermuteAttr::get(context, sample, 0,
                       DenseI64ArrayAttr::get(context, enough ? routed : all));
  return Attribute(GramAttr::get(context, hidden->on(rows)));
}
