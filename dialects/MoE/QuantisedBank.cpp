#include "dialects/MoE/QuantisedBank.h"

using namespace mlir;
using namespace moe;

SliceAttr moe::quantisedSlice(SliceAttr slice, BankOp bank) {
  auto mix = bank && bank.getRecipe() ? dyn_cast<MixAttr>(*bank.getRecipe())
                                      : MixAttr();
  if (!mix || mix.getSources().size() != 1 || slice.getTransposed() ||
      slice.getQuant() ||
      cast<FloatAttr>(mix.getWeights()[0]).getValueAsDouble() != 1.0)
    return {};
  auto source = dyn_cast<SliceAttr>(mix.getSources()[0]);
  auto quant =
      source ? dyn_cast_or_null<QuantAttr>(source.getQuant()) : QuantAttr();
  if (!quant)
    return {};
  ArrayRef<int64_t> rows = slice.getRanges();
  if (rows.empty())
    return source;
  // Rows have scales of their own. Step 0 would make a vector.
  SliceAttr scales = quant.getScales(), zeros = quant.getZeros();
  auto isWhole = [](SliceAttr part) {
    return !part || (part.getRanges().empty() && !part.getTransposed());
  };
  if (rows.size() != 3 || rows[2] == 0 || !isWhole(source) ||
      !isWhole(scales) || !isWhole(zeros))
    return {};
  auto cut = [&](SliceAttr whole) {
    return whole ? SliceAttr::get(whole.getBank(), rows) : SliceAttr();
  };
  MLIRContext *context = slice.getContext();
  auto own = QuantAttr::get(context, quant.getBits(), quant.getBlock(),
                            cut(scales), cut(zeros), quant.getCode());
  return SliceAttr::get(context, source.getBank(), rows,
                        /*transposed=*/false, own);
}
