// Which layers of experts kernels can compute.
#include "codegen/CUDA/PoolOfExperts.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "runtime/IRInterface.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

moert::WeightRefOp moe::cuda::bankOf(Value memory) {
  // Biases lose a dimension on their way.
  while (auto collapse = memory.getDefiningOp<memref::CollapseShapeOp>())
    memory = collapse.getSrc();
  return memory.getDefiningOp<moert::WeightRefOp>();
}

static MemRefType typeOf(Value value) {
  return cast<MemRefType>(value.getType());
}

static cuda::Activation activationOf(moert::Activation from) {
  switch (from) {
  case moert::Activation::Identity:
    return cuda::Activation::Identity;
  case moert::Activation::Relu:
    return cuda::Activation::Relu;
  case moert::Activation::Relu2:
    return cuda::Activation::Relu2;
  case moert::Activation::Silu:
    return cuda::Activation::Silu;
  case moert::Activation::GeluTanh:
    return cuda::Activation::GeluTanh;
  case moert::Activation::Gelu:
    return cuda::Activation::Gelu;
  }
  llvm_unreachable("there are no others");
}

static std::optional<Element> elementOf(Type type) {
  if (type.isBF16())
    return Element::BF16;
  if (type.isF16())
    return Element::F16;
  if (type.isF32())
    return Element::F32;
  return std::nullopt;
}

/// The number of an element type in runtime/IRInterface.h.
static int64_t numberOf(Element element) {
  switch (element) {
  case Element::BF16:
    return MOERT_BF16;
  case Element::F16:
    return MOERT_F16;
  case Element::F32:
    return MOERT_F32;
  }
  llvm_unreachable("there are no others");
}

/// The same; 0 of types that kernels do not know.
static int64_t numberOf(Type type) {
  std::optional<Element> element = elementOf(type);
  return element ? numberOf(*element) : 0;
}

static std::optional<rt::RowScale> scaleOf(Type type) {
  if (isa<Float8E8M0FNUType>(type))
    return rt::RowScale::E8M0;
  std::optional<Element> element = elementOf(type);
  if (!element)
    return std::nullopt;
  switch (*element) {
  case Element::BF16:
    return rt::RowScale::BF16;
  case Element::F16:
    return rt::RowScale::F16;
  case Element::F32:
    return rt::RowScale::F32;
  }
  llvm_unreachable("there are no others");
}

static rt::RowCoding codingOf(moert::Coding from) {
  switch (from) {
  case moert::Coding::Int8:
    return rt::RowCoding::Int8;
  case moert::Coding::Int4:
    return rt::RowCoding::Int4;
  case moert::Coding::Fp4:
    return rt::RowCoding::Fp4;
  case moert::Coding::Nf4:
    return rt::RowCoding::Nf4;
  case moert::Coding::F8E4M3:
    return rt::RowCoding::F8E4M3;
  }
  llvm_unreachable("there are no others");
}

/// How a quantised matrix is read; nothing where it has no kernels.
static std::optional<rt::CodedRows>
codedOf(const moert::ExpertFfnOp::Matrix &matrix) {
  auto scale = scaleOf(typeOf(matrix.scales).getElementType());
  if (!scale || !bankOf(matrix.scales) ||
      (matrix.zeros && !bankOf(matrix.zeros)))
    return std::nullopt;
  // A block of the whole depth may have any size.
  int64_t depth = typeOf(matrix.values).getDimSize(2);
  rt::CodedRows rows{codingOf(*matrix.coding), *scale,
                     *matrix.block >= depth ? 0 : *matrix.block,
                     static_cast<bool>(matrix.zeros)};
  return rows.isSupported() ? std::optional(rows) : std::nullopt;
}

/// The element type of a bias that the runtime can read; 0 where it can not.
static int64_t biasOf(Value bias, int64_t experts, int64_t rows) {
  MemRefType type = typeOf(bias);
  if (!bankOf(bias) || type.getShape() != ArrayRef<int64_t>{experts, rows})
    return 0;
  return numberOf(type.getElementType());
}

std::optional<Pool> moe::cuda::poolOf(moert::ExpertFfnOp op, MayRound mayRound,
                                      StringRef &why) {
  auto refuse = [&](StringRef reason) {
    why = reason;
    return std::nullopt;
  };
  if (!isa<MemRefType>(op.getX().getType()))
    return refuse("it is not on memory yet");
  for (Value value : {op.getX(), op.getIds(), op.getWeights(), op.getResidual(),
                      op.getOuts()})
    if (value && (!typeOf(value).getLayout().isIdentity() ||
                  ShapedType::isDynamic(typeOf(value).getDimSize(1))))
      return refuse("its rows are not dense, or of a size not known");
  for (Value value :
       {op.getX(), op.getWeights(), op.getResidual(), op.getOuts()})
    if (value && !typeOf(value).getElementType().isF32())
      return refuse("its inputs or outputs are not f32");
  if (!typeOf(op.getIds()).getElementType().isInteger(32))
    return refuse("its ids are not i32");

  Pool pool{};
  LayerShape &shape = pool.shape;
  shape.experts = typeOf(op.getUp()).getDimSize(0);
  shape.inputs = typeOf(op.getX()).getDimSize(1);
  shape.hidden = op.getInner();
  shape.outputs = typeOf(op.getOuts()).getDimSize(1);
  shape.topK = typeOf(op.getIds()).getDimSize(1);
  shape.isGlu = op.getGlu();
  shape.activation = activationOf(op.getActivation());
  shape.alpha = op.getAlpha().convertToDouble();
  shape.beta = op.getBeta().convertToDouble();
  shape.limit = op.getLimit().convertToDouble();
  shape.outputScale = op.getOutputScale().convertToDouble();
  shape.scaleInput = op.getScaleInput();
  pool.entries = op.getNumColumns();
  // Columns of the factor that reads are the depth of the other one.
  shape.upRank = op.getUpLow() ? typeOf(op.getUp()).getDimSize(2) : 0;
  shape.downRank = op.getDownLow() ? typeOf(op.getDown()).getDimSize(2) : 0;
  std::optional<Element> plain;
  for (const auto &[matrix, coded] :
       {std::pair(op.getUpMatrix(), &shape.upCoded),
        {op.getDownMatrix(), &shape.downCoded},
        {op.getUpLowMatrix(), &shape.upLowCoded},
        {op.getDownLowMatrix(), &shape.downLowCoded}}) {
    if (!matrix.values)
      continue;
    MemRefType type = typeOf(matrix.values);
    if (type.getRank() != 4 || !bankOf(matrix.values))
      return refuse("its weights are not packed");
    int64_t width = op.getPanelWidth(matrix.values, matrix.coding);
    if (pool.panelWidth != 0 && width != pool.panelWidth)
      return refuse("its weights are packed in two ways");
    pool.panelWidth = width;
    if (matrix.coding) {
      *coded = codedOf(matrix);
      if (!*coded)
        return refuse("its weights are quantised otherwise than kernels know");
      continue;
    }
    std::optional<Element> element = elementOf(type.getElementType());
    if (!element || (plain && element != plain))
      return refuse("its weights are of types that have no kernels");
    plain = element;
  }
  // What low factors give stays as it is.
  if (mayRound.fp8Inputs && !shape.upRank && !shape.downRank)
    for (std::optional<rt::CodedRows> *coded :
         {&shape.upCoded, &shape.downCoded})
      if (*coded && (*coded)->coding == rt::RowCoding::F8E4M3)
        (*coded)->coding = rt::RowCoding::F8ByF8;
  // Rows of other quantised matrices are multiplied with bf16.
  shape.element = plain.value_or(Element::BF16);
  pool.element = numberOf(shape.element);
  shape.tf32 = mayRound.tf32 && shape.element == Element::F32;
  // As the runtime finds matrices and biases.
  int64_t upRows = shape.hidden * (shape.isGlu ? 2 : 1);
  auto hasPanels = [&](Value matrix, int64_t columns, int64_t depth) {
    return typeOf(matrix).getDimSize(1) ==
               (columns + pool.panelWidth - 1) / pool.panelWidth &&
           typeOf(matrix).getDimSize(2) == depth;
  };
  for (auto [bias, rows, type] :
       {std::tuple(op.getUpBias(), upRows, &pool.upBias),
        std::tuple(op.getDownBias(), shape.outputs, &pool.downBias)})
    if (bias && !(*type = biasOf(bias, shape.experts, rows)))
      return refuse("its biases are no weights, or of types without kernels");
  shape.hasUpBias = op.getUpBias() != nullptr;
  shape.hasDownBias = op.getDownBias() != nullptr;
  if (!shape.isSupported())
    return refuse("its weights are quantised and of f32");
  if (!fromAttribute(toAttribute(op.getContext(), pool)))
    return refuse("it is empty");
  if (!hasPanels(op.getUp(), upRows, shape.upProduct().inputs) ||
      !hasPanels(op.getDown(), shape.outputs, shape.downProduct().hidden) ||
      (op.getUpLow() &&
       !hasPanels(op.getUpLow(), shape.upRank, shape.inputs)) ||
      (op.getDownLow() &&
       !hasPanels(op.getDownLow(), shape.downRank, shape.hidden)))
    return refuse("its weights are packed otherwise");
  return pool;
}

std::optional<Pool> moe::cuda::poolOf(moert::GemmOp op, bool isExact, bool tf32,
                                      StringRef &why) {
  auto refuse = [&](StringRef reason) {
    why = reason;
    return std::nullopt;
  };
  if (!isa<MemRefType>(op.getX().getType()))
    return refuse("it is not on memory yet");
  for (Value value : {op.getX(), op.getResidual(), op.getOuts()})
    if (value && (!typeOf(value).getLayout().isIdentity() ||
                  !typeOf(value).getElementType().isF32()))
      return refuse("its rows are not dense f32");
  MemRefType weight = typeOf(op.getWeight());
  int64_t depth = typeOf(op.getX()).getShape().back(),
          rows = typeOf(op.getOuts()).getShape().back();
  int64_t number = numberOf(weight.getElementType());
  if (weight.getRank() != 4 || !bankOf(op.getWeight()) || number == 0 ||
      ShapedType::isDynamic(depth) || ShapedType::isDynamic(rows))
    return refuse("its weights are not packed");
  Pool pool{};
  LayerShape &shape = pool.shape;
  shape.experts = shape.topK = pool.entries = 1;
  shape.inputs = shape.hidden = depth;
  shape.outputs = rows;
  shape.isGlu = false;
  shape.activation = cuda::Activation::Identity;
  shape.element = isExact ? Element::F32 : *elementOf(weight.getElementType());
  shape.tf32 = tf32 && !isExact && shape.element == Element::F32;
  pool.element = number;
  pool.isMatrix = true;
  pool.panelWidth = weight.getDimSize(3);
  if (Value bias = op.getBias()) {
    MemRefType type = typeOf(bias);
    pool.downBias = numberOf(type.getElementType());
    if (!bankOf(bias) || type.getNumElements() != rows || pool.downBias == 0)
      return refuse("its bias is no weight, or of a type without kernels");
  }
  shape.hasDownBias = op.getBias() != nullptr;
  if (weight.getDimSize(0) != 1 ||
      weight.getDimSize(1) != (rows + pool.panelWidth - 1) / pool.panelWidth ||
      weight.getDimSize(2) != depth ||
      !fromAttribute(toAttribute(op.getContext(), pool)))
    return refuse("its weights are packed otherwise");
  return pool;
}
