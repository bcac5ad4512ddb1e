#include "dialects/MoE/MoEOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;

/// Sizes in bits and sums of them stay far from the limits of 64 bits.
static constexpr int64_t kMaxElements = int64_t(1) << 48;

LogicalResult BankOp::verify() {
  // bank_c1
  int places =
      getKey().has_value() + getOffset().has_value() + getRecipe().has_value();
  if (places != 1)
    return emitOpError("needs exactly one of a key, an offset and a recipe");
  // bank_c2
  if (getArchive().has_value() == getRecipe().has_value())
    return emitOpError(getRecipe() ? "has a recipe, so it lies in no archive"
                                   : "does not say in which archive it lies");
  // bank_c3
  RankedTensorType type = getTensorType();
  if (!type.hasStaticShape())
    return emitOpError("needs a static type, not ") << type;
  int64_t elements = 1;
  for (int64_t size : type.getShape())
    if (llvm::MulOverflow(elements, size, elements) || elements > kMaxElements)
      return emitOpError("is too large: ") << type;
  // bank_c5
  auto inlined = dyn_cast_or_null<ElementsAttr>(getRecipeAttr());
  if (inlined && inlined.getShapedType() != type)
    return emitOpError("holds ") << inlined.getShapedType() << " as " << type;
  // bank_c4
  if (!getOffset())
    return success();
  if (!getLength())
    return emitOpError("has an offset but no length");
  if (!type.getElementType().isIntOrFloat())
    return emitOpError("cannot hold elements of type ")
           << type.getElementType();
  int64_t bits = type.getElementTypeBitWidth();
  // i1 is stored as one byte per element.
  int64_t bytes = bits == 1 ? type.getNumElements()
                            : (type.getNumElements() * bits + 7) / 8;
  if (static_cast<int64_t>(*getLength()) != bytes)
    return emitOpError("is ")
           << *getLength() << " bytes long, but " << type << " takes " << bytes;
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // weight_c1
  auto bank = symbols.lookupNearestSymbolFrom<BankOp>(*this, getBankAttr());
  if (!bank)
    return emitOpError("reads ")
           << getBankAttr() << ", which is not a moe.bank";
  if (bank.getTensorType() == getResult().getType())
    return success();
  InFlightDiagnostic diag = emitOpError("has type ")
                            << getResult().getType() << ", but "
                            << getBankAttr() << " holds "
                            << bank.getTensorType();
  diag.attachNote(bank.getLoc()) << "bank declared here";
  return diag;
}
