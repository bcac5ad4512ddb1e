#include "passes/Analysis/CodedMatrix.h"

using namespace mlir;
using namespace moe;

/// Numbers that all rows of a panel pass before the next come: kernels cut
/// panels there, and blocks must not lie across (codegen/CPU/PanelProduct).
static constexpr int64_t kBlockOfPanel = 4096;

static RankedTensorType typeOf(Operation *from, SliceAttr slice,
                               SymbolTableCollection &symbols) {
  auto bank = symbols.lookupNearestSymbolFrom<BankOp>(from, slice.getBank());
  return bank ? bank.getTensorType() : RankedTensorType();
}

/// The slice, counted in values of `bits` bits (or one to a byte).
static std::optional<CodedMatrix::Values> readValues(RankedTensorType type,
                                                     SliceAttr slice,
                                                     int64_t bits,
                                                     bool isPacked) {
  ColumnsAttr columns =
      SliceAttr::get(slice.getBank(), slice.getRanges(), slice.getTransposed())
          .getColumns(type);
  int64_t width = type.getElementTypeBitWidth();
  if (!columns || (width != bits && width != 8))
    return std::nullopt;
  Type element = type.getElementType();
  // 8-bit integers shall be signed, 4-bit ones count from 0.
  bool isFlipped = element.isUnsignedInteger() == (bits == 8);
  int64_t flip = isFlipped ? 1 << (bits - 1) : 0;
  if (width == bits || !isPacked)
    return CodedMatrix::Values{columns, width, flip};
  // Bytes of two values along k.
  if (columns.getStrideK() != 1)
    return std::nullopt;
  return CodedMatrix::Values{
      ColumnsAttr::get(columns.getContext(), columns.getBank(),
                       columns.getCount(), 2 * columns.getOffset(),
                       2 * columns.getStrideN(), 1),
      bits, flip};
}

std::optional<CodedMatrix> moe::readCoded(Operation *from, Attribute matrix,
                                          int64_t width,
                                          SymbolTableCollection &symbols) {
  auto slice = dyn_cast_or_null<SliceAttr>(matrix);
  auto quant =
      slice ? dyn_cast_or_null<QuantAttr>(slice.getQuant()) : QuantAttr();
  if (!quant)
    return std::nullopt;
  int64_t bits = quant.getBits();
  RankedTensorType type = typeOf(from, slice, symbols);
  RankedTensorType scaleType = typeOf(from, quant.getScales(), symbols);
  if (!type || !scaleType || (bits != 4 && bits != 8))
    return std::nullopt;
  FailureOr<SliceGeometry> geometry = slice.resolve(type, nullptr);
  if (failed(geometry) || geometry->shape.size() != 2)
    return std::nullopt;
  CodedMatrix coded;
  Type element = type.getElementType();
  if (isa<Float8E4M3FNType>(element))
    coded.coding = moert::Coding::F8E4M3;
  else if (!element.isInteger())
    return std::nullopt;
  else if (quant.isInteger())
    coded.coding = bits == 8 ? moert::Coding::Int8 : moert::Coding::Int4;
  else
    coded.coding =
        quant.getCode() == "fp4" ? moert::Coding::Fp4 : moert::Coding::Nf4;
  bool isPacked = bits == 4 && type.getElementTypeBitWidth() == 8;
  auto values = readValues(type, slice, bits, isPacked);
  if (!values)
    return std::nullopt;
  coded.values = *values;
  if (!quant.isInteger() || coded.coding == moert::Coding::F8E4M3)
    coded.values.flip = 0;
  coded.depth = geometry->shape[slice.getTransposed() ? 0 : 1];
  if (isPacked)
    coded.depth *= 2;
  coded.block = quant.getBlock();
  int64_t block = coded.block, piece = kBlockOfPanel / width;
  if (block && block < coded.depth && block % piece != 0 && piece % block != 0)
    return std::nullopt;
  coded.scaleType = scaleType.getElementType();
  coded.scales = quant.getScales().getColumns(scaleType);
  if (!coded.scales ||
      !isa<Float32Type, Float16Type, BFloat16Type, Float8E8M0FNUType>(
          coded.scaleType))
    return std::nullopt;
  if (SliceAttr zeros = quant.getZeros()) {
    RankedTensorType zeroType = typeOf(from, zeros, symbols);
    if (!zeroType || !zeroType.getElementType().isInteger() ||
        zeroType.getElementType().isUnsignedInteger() !=
            element.isUnsignedInteger())
      return std::nullopt;
    coded.zeros = readValues(zeroType, zeros, bits, /*isPacked=*/false);
    if (!coded.zeros)
      return std::nullopt;
  }
  return coded;
}

std::string CodedMatrix::kind() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << stringifyCoding(coding) << " " << block << " " << values.stored << " "
     << values.flip << " " << scaleType;
  if (zeros)
    os << " " << zeros->stored << " " << zeros->flip;
  return text;
}

MatrixFactors moe::splitFactors(Attribute matrix) {
  auto factored = dyn_cast_or_null<FactoredAttr>(matrix);
  if (!factored || factored.getBase() || factored.getRows() ||
      !factored.getLeft() || !factored.getRight() ||
      (factored.getScale() && factored.getScale().getValueAsDouble() != 1))
    return {matrix, {}};
  return {factored.getLeft(), factored.getRight()};
}

bool moe::areReadable(ExpertOp expert, ArrayRef<Attribute> matrices,
                      int64_t width, SymbolTableCollection &symbols) {
  // How a slice is stored; empty where kernels do not know.
  auto kindOf = [&](Attribute matrix) -> std::string {
    if (auto coded = readCoded(expert, matrix, width, symbols))
      return coded->kind();
    return expert.getColumns(matrix, symbols) ? "plain" : "";
  };
  MatrixFactors first = splitFactors(matrices.front());
  std::string kind = kindOf(first.matrix);
  if (kind.empty() || (first.low && kindOf(first.low).empty()))
    return false;
  return llvm::all_of(matrices.drop_front(), [&](Attribute matrix) {
    MatrixFactors other = splitFactors(matrix);
    return other.low == first.low && kindOf(other.matrix) == kind;
  });
}
