#include "passes/Compress/Matrices.h"

#include "mlir/IR/Builders.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Profile.h"

using namespace mlir;
using namespace moe;

SmallVector<StringRef> moe::matrixNames(ExpertOp expert) {
  SmallVector<StringRef> names;
  for (StringRef name : {"gate", "up", "down"})
    if (expert->getAttr(name))
      names.push_back(name);
  return names;
}

FailureOr<std::pair<int64_t, int64_t>>
moe::shapeOf(ExpertOp expert, StringRef matrix, const SymbolTable &symbols) {
  auto slice = expert->getAttrOfType<SliceAttr>(matrix);
  if (!slice)
    return expert.emitOpError("'") << expert.getEntryName() << "': its matrix '"
                                   << matrix << "' has been factored already";
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  if (!bank)
    return expert.emitOpError("reads ")
           << slice.getBank() << ", which is not a moe.bank";
  auto geometry =
      slice.resolve(bank.getTensorType(), [&] { return expert.emitOpError(); });
  if (failed(geometry))
    return failure();
  SmallVector<int64_t, 2> shape(geometry->shape);
  shape.resize(2, 1);
  if (slice.getTransposed())
    std::swap(shape[0], shape[1]);
  if (auto quant = dyn_cast_or_null<QuantAttr>(slice.getQuant()))
    if (quant.getBits() < 8 &&
        !bank.getTensorType().getElementType().isInteger(4))
      shape[1] *= 8 / quant.getBits();
  return std::make_pair(shape[0], shape[1]);
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

/// Mean squares of columns, over the rows that the gate sends to `e`; over all
/// where it sends fewer than `enough`.
static std::vector<double> meanSquares(const Numbers &numbers,
                                       const Numbers &weights, int64_t e) {
  constexpr int64_t enough = 16;
  int64_t routed = 0;
  for (int64_t r = 0; r < numbers.rows; ++r)
    routed += weights.at(r, e) != 0;
  bool all = routed < enough;
  std::vector<double> result(numbers.columns);
  for (int64_t r = 0; r < numbers.rows; ++r)
    if (all || weights.at(r, e) != 0)
      for (int64_t c = 0; c < numbers.columns; ++c)
        result[c] += numbers.at(r, c) * numbers.at(r, c);
  for (double &value : result)
    value /= static_cast<double>(all ? numbers.rows : routed);
  return result;
}

FailureOr<Moments> moe::momentsOf(const MoELayer &layer, int64_t e,
                                  const Calibration &calibration,
                                  const Profile &profile,
                                  WeightSource &weights) {
  Moments moments;
  Numbers gates = calibration.gateWeights({});
  Numbers hidden;
  if (failed(calibration.outputs(e, weights, &hidden)))
    return failure();
  moments.hidden = meanSquares(hidden, gates, e);
  auto sums = profile.get(layer.name, "input_square_sum");
  auto counts = profile.get(layer.name, "counts");
  if (sums && counts && sums->rows == gates.columns &&
      counts->rows == gates.columns &&
      sums->columns == calibration.getInputs().columns &&
      counts->values[e] >= 16) {
    for (int64_t c = 0; c < sums->columns; ++c)
      moments.input.push_back(sums->at(e, c) / counts->values[e]);
    return moments;
  }
  moments.input = meanSquares(calibration.getInputs(), gates, e);
  return moments;
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
