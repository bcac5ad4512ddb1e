#include "passes/Compress/Matrices.h"

#include "mlir/IR/Builders.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Profile.h"
#include "passes/Compress/ProfileColumns.h"
#include <cmath>

using namespace mlir;
using namespace moe;

SmallVector<StringRef> moe::matrixNames(ExpertOp expert) {
  SmallVector<StringRef> names;
  for (StringRef name : {"gate", "up", "down"})
    if (expert->getAttr(name))
      names.push_back(name);
  return names;
}

FailureOr<SmallVector<int64_t, 2>> moe::shapeOf(const MoELayer &layer,
                                                ExpertOp expert,
                                                StringRef matrix,
                                                const SymbolTable &symbols) {
  if (auto slice = expert->getAttrOfType<SliceAttr>(matrix))
    return shapeOf(expert, slice, symbols);
  return emitLayerError(layer)
         << "expert '" << expert.getEntryName() << "': its matrix '" << matrix
         << "' has been factored already";
}

FloatType moe::plainType(SliceAttr slice, const SymbolTable &symbols) {
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  auto type = bank && !slice.getQuant()
                  ? dyn_cast<FloatType>(bank.getTensorType().getElementType())
                  : FloatType();
  return type ? type : Float32Type::get(slice.getContext());
}

void moe::replaceMatrix(const MoELayer &layer, ExpertOp expert,
                        StringRef matrix, Attribute recipe,
                        ArrayRef<int64_t> shape, SymbolTable &symbols) {
  FloatType type = Float32Type::get(expert.getContext());
  if (auto slice = expert->getAttrOfType<SliceAttr>(matrix))
    type = plainType(slice, symbols);
  PoolOp pool = layer.pool;
  BankOp bank =
      addBank(layer, symbols,
              pool.getSymName() + "." + expert.getEntryName() + "." + matrix,
              recipe, RankedTensorType::get(shape, type));
  expert->setAttr(matrix, wholeOf(bank));
}

LogicalResult moe::takeHiddenUnits(const MoELayer &layer, ExpertOp expert,
                                   ArrayRef<int64_t> order,
                                   SymbolTable &symbols) {
  // Columns of down that lay side by side do so no more.
  expert.removeNOfMAttr();
  MLIRContext *context = expert.getContext();
  auto units = DenseI64ArrayAttr::get(context, order);
  SmallVector<StringRef> names = matrixNames(expert);
  for (StringRef name : {"gate_bias", "up_bias"})
    if (expert->getAttr(name))
      names.push_back(name);
  for (StringRef name : names) {
    auto shape = shapeOf(layer, expert, name, symbols);
    if (failed(shape))
      return failure();
    int64_t dim = name == "down";
    (*shape)[dim] = static_cast<int64_t>(order.size());
    replaceMatrix(layer, expert, name,
                  PermuteAttr::get(context, expert->getAttr(name), dim, units),
                  *shape, symbols);
  }
  return success();
}

/// Mean squares of columns, over the rows that the gate sends to `e` (`weights`
/// are those of entries); over all where it sends fewer than `kEnoughRows`.
static std::vector<double> meanSquares(const Numbers &numbers,
                                       const Numbers &weights, int64_t e) {
  int64_t routed = 0;
  for (int64_t r = 0; r < numbers.rows; ++r)
    routed += weights.at(r, e) != 0;
  bool all = routed < kEnoughRows;
  std::vector<double> result(numbers.columns);
  for (int64_t r = 0; r < numbers.rows; ++r)
    if (all || weights.at(r, e) != 0)
      for (int64_t c = 0; c < numbers.columns; ++c)
        result[c] += numbers.at(r, c) * numbers.at(r, c);
  for (double &value : result)
    value /= static_cast<double>(all ? numbers.rows : routed);
  return result;
}

FailureOr<LayerMoments> LayerMoments::of(const MoELayer &layer,
                                         const CompressInputs &inputs,
                                         int64_t rows, bool wanted) {
  LayerMoments result;
  result.layer = layer;
  if (!wanted)
    return result;
  auto calibration =
      Calibration::of(layer, *inputs.profile, *inputs.weights, rows);
  if (failed(calibration) || failed(calibration->checkUnscaled()))
    return failure();
  result.weights = inputs.weights;
  result.memo = inputs.moments;
  result.rows = rows;
  auto sums = measureOfEntries(layer, *inputs.profile, "input_square_sum");
  auto counts = measureOfEntries(layer, *inputs.profile, "counts");
  if (failed(sums) || failed(counts))
    return failure();
  if (*sums && *counts && (*sums)->columns == calibration->getInputs().columns)
    result.sums = std::move(*sums), result.counts = std::move(*counts);
  result.calibration = std::move(*calibration);
  return result;
}

FailureOr<Moments> LayerMoments::get(int64_t e, ExpertOp expert) const {
  MomentsMemo::Key key(layer.name, e, rows);
  if (memo)
    if (const Moments *known = memo->find(key))
      return *known;
  const Numbers &gates = calibration->getEntryGates();
  auto hidden = hiddenOf(expert, calibration->getInputs(), *weights);
  if (failed(hidden))
    return failure();
  Moments moments;
  moments.hidden = meanSquares(*hidden, gates, e);
  if (sums && counts->values[e] >= kEnoughRows)
    for (int64_t c = 0; c < sums->columns; ++c)
      moments.input.push_back(sums->at(e, c) / counts->values[e]);
  else
    moments.input = meanSquares(calibration->getInputs(), gates, e);
  if (memo)
    memo->insert(key, moments);
  return moments;
}

FailureOr<MomentSlices> LayerMoments::addBanks(int64_t e, ExpertOp expert,
                                               SymbolTable &symbols,
                                               double power) const {
  if (!calibration)
    return MomentSlices();
  auto moments = get(e, expert);
  if (failed(moments))
    return failure();
  if (power != 1)
    for (std::vector<double> *list : {&moments->input, &moments->hidden})
      for (double &moment : *list)
        moment = std::pow(moment, power);
  PoolOp pool = layer.pool;
  std::string prefix = (pool.getSymName() + "." + expert.getEntryName()).str();
  return MomentSlices{
      wholeOf(addNumbers(layer, symbols, prefix + ".inputs", moments->input)),
      wholeOf(addNumbers(layer, symbols, prefix + ".hidden", moments->hidden))};
}

BankOp moe::addNumbers(const MoELayer &layer, SymbolTable &symbols,
                       const Twine &name, ArrayRef<double> numbers) {
  SmallVector<float> values(numbers.begin(), numbers.end());
  auto type =
      RankedTensorType::get({static_cast<int64_t>(values.size())},
                            Float32Type::get(layer.apply->getContext()));
  return addBank(layer, symbols, name,
                 DenseElementsAttr::get(type, ArrayRef<float>(values)), type);
}
