#include "dialects/CodeTables.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moe::moert;

#include "dialects/MoERT/MoERTDialect.cpp.inc"
#include "dialects/MoERT/MoERTEnums.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/MoERT/MoERTOps.cpp.inc"

void MoERTDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/MoERT/MoERTOps.cpp.inc"
      >();
}

/// On memrefs: destinations are written, everything else is read.
static void effectsOf(DestinationStyleOpInterface op,
                      SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    if (op.isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
    else
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
  }
}

static int64_t rank(Value value) {
  return cast<ShapedType>(value.getType()).getRank();
}

static LogicalResult verifyLastIs(Operation *op, Value x, Value row,
                                  StringRef what) {
  auto rowType = cast<ShapedType>(row.getType());
  if (rank(x) == 0)
    return op->emitOpError("needs rows, not ") << x.getType();
  int64_t last = cast<ShapedType>(x.getType()).getShape().back();
  if (rowType.getRank() == 1 &&
      (rowType.isDynamicDim(0) || ShapedType::isDynamic(last) ||
       rowType.getDimSize(0) == last))
    return success();
  return op->emitOpError() << what << " is " << rowType << ", but rows have "
                           << last << " features";
}

// Counts and marks live in the runtime: no order among them may change, and
// none may vanish.
void ObserveOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  effects.emplace_back(MemoryEffects::Write::get());
  for (OpOperand &value : getValuesMutable())
    if (isa<BaseMemRefType>(value.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &value);
}

void PhaseOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  effects.emplace_back(MemoryEffects::Write::get());
}

// What ops for devices do stays in order: each touches the device's state.
static void
touchDevice(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
                &effects) {
  effects.emplace_back(MemoryEffects::Read::get());
  effects.emplace_back(MemoryEffects::Write::get());
}

#define MOE_TOUCHES_DEVICE(Op)                                                 \
  void Op::getEffects(                                                         \
      SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {               \
    touchDevice(effects);                                                      \
  }
MOE_TOUCHES_DEVICE(OnDeviceOp)
MOE_TOUCHES_DEVICE(DeviceAllocOp)
MOE_TOUCHES_DEVICE(DeviceFreeOp)
MOE_TOUCHES_DEVICE(DeviceConstantOp)
MOE_TOUCHES_DEVICE(DeviceCacheOp)
MOE_TOUCHES_DEVICE(DevicePresentOp)
MOE_TOUCHES_DEVICE(TransferOp)
MOE_TOUCHES_DEVICE(LaunchOp)
MOE_TOUCHES_DEVICE(LaunchLayerOp)
#undef MOE_TOUCHES_DEVICE

LogicalResult DeviceAllocOp::verify() {
  // device_alloc_c1
  auto type = cast<MemRefType>(getMemory().getType());
  if (!type.getLayout().isIdentity() ||
      static_cast<size_t>(type.getNumDynamicDims()) != getSizes().size())
    return emitOpError("needs dense memory and a size for each dynamic "
                       "dimension, not ")
           << type << " and " << getSizes().size() << " sizes";
  return success();
}

LogicalResult DeviceConstantOp::verify() {
  // device_constant_c1
  auto type = cast<MemRefType>(getMemory().getType());
  if (!type.getLayout().isIdentity() || !type.hasStaticShape())
    return emitOpError("needs dense memory of static shape, not ") << type;
  return success();
}

LogicalResult TransferOp::verify() {
  // transfer_c1
  auto type = cast<MemRefType>(getFrom().getType());
  if (!type.getLayout().isIdentity())
    return emitOpError("needs dense memory, not ") << type;
  return success();
}

LogicalResult LaunchLayerOp::verify() {
  // launch_layer_c1
  for (Value value : getOperands()) {
    auto type = cast<MemRefType>(value.getType());
    Type element = type.getElementType();
    if (!type.getLayout().isIdentity() ||
        !(value == getIds() ? element.isInteger(32) : element.isF32()))
      return emitOpError("needs dense i32 for ids and dense f32 elsewhere, "
                         "not ")
             << type;
  }
  return success();
}

void CheckOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  effects.emplace_back(MemoryEffects::Write::get());
}

LogicalResult CheckOp::verify() {
  // check_c1
  int64_t texts = 0, numbers = 0;
  StringRef rest = getMessage();
  for (size_t at; (at = rest.find('%')) != StringRef::npos;) {
    rest = rest.drop_front(at + 1);
    if (rest.consume_front("s"))
      ++texts;
    else if (rest.consume_front("lld"))
      ++numbers;
    else if (!rest.consume_front("%"))
      return emitOpError("has a '%' in its message that is none of %s, %lld, "
                         "%%");
  }
  if (texts != (getWhere() ? 1 : 0))
    return emitOpError("has ") << texts << " %s in its message and "
                               << (getWhere() ? "one" : "no") << " 'where'";
  if (numbers != (getValue() ? 1 : 0))
    return emitOpError("has ") << numbers << " %lld in its message and "
                               << (getValue() ? "one" : "no") << " 'value'";
  return success();
}

// The memory is the session's: what earlier runs wrote is read, and more may
// come of it than from an allocation.
void CacheOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  effects.emplace_back(MemoryEffects::Read::get(), &getPastMutable());
  effects.emplace_back(MemoryEffects::Write::get());
}

/// Rows dense and from offset 0 on.
static bool hasDenseRows(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  return succeeded(type.getStridesAndOffset(strides, offset)) && offset == 0 &&
         strides[3] == 1 && strides[2] == type.getDimSize(3);
}

static LogicalResult verifyCache(Operation *op, MemRefType past,
                                 MemRefType present) {
  // cache_c1, device_cache_c1
  if (past.getRank() != 4 || present.getRank() != 4)
    return op->emitOpError("needs memory of rank 4, not ")
           << (past.getRank() != 4 ? past : present);
  if (!past.getLayout().isIdentity())
    return op->emitOpError("needs a dense past, not ") << past;
  Type element = past.getElementType();
  if (element != present.getElementType() || !element.isIntOrFloat() ||
      element.getIntOrFloatBitWidth() % 8 != 0)
    return op->emitOpError("needs elements of whole bytes, the same in ")
           << past << " and " << present;
  // cache_c2, device_cache_c1
  if (!hasDenseRows(present))
    return op->emitOpError("gives dense rows from offset 0, not ") << present;
  return success();
}

LogicalResult CacheOp::verify() {
  return verifyCache(*this, cast<MemRefType>(getPast().getType()),
                     cast<MemRefType>(getPresent().getType()));
}

LogicalResult DeviceCacheOp::verify() {
  return verifyCache(*this, cast<MemRefType>(getPast().getType()),
                     cast<MemRefType>(getPresent().getType()));
}

LogicalResult DevicePresentOp::verify() {
  // device_present_c1
  auto memory = cast<MemRefType>(getMemory().getType());
  auto present = cast<MemRefType>(getPresent().getType());
  bool isRows = memory.getRank() == 4 && hasDenseRows(memory);
  if (!(isRows || memory.getLayout().isIdentity()) ||
      !present.getLayout().isIdentity() ||
      failed(verifyCompatibleShape(memory, present)) ||
      memory.getElementType() != present.getElementType())
    return emitOpError("makes dense memory of what is dense, or of dense rows "
                       "from offset 0, not ")
           << present << " of " << memory;
  return success();
}

#define MOERT_EFFECTS(OP)                                                      \
  void OP::getEffects(                                                         \
      SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {               \
    effectsOf(*this, effects);                                                 \
  }
MOERT_EFFECTS(EmbedOp)
MOERT_EFFECTS(GemmOp)
MOERT_EFFECTS(RmsNormOp)
MOERT_EFFECTS(LayerNormOp)
MOERT_EFFECTS(RopeTableOp)
MOERT_EFFECTS(RopeOp)
MOERT_EFFECTS(KvAppendOp)
MOERT_EFFECTS(AttentionOp)
MOERT_EFFECTS(RouteOp)
MOERT_EFFECTS(ExpertFfnOp)
#undef MOERT_EFFECTS

LogicalResult EmbedOp::verify() {
  // embed_c1
  if (!cast<ShapedType>(getIds().getType()).getElementType().isInteger())
    return emitOpError("needs integer ids, not ") << getIds().getType();
  if (rank(getTable()) != 2)
    return emitOpError("needs a table of rank 2, not ") << getTable().getType();
  // embed_c2
  if (rank(getOuts()) != rank(getIds()) + 1)
    return emitOpError("gathers rows for ids of rank ")
           << rank(getIds()) << " into rank " << rank(getOuts());
  return success();
}

LogicalResult GemmOp::verify() {
  auto x = cast<ShapedType>(getX().getType());
  auto w = cast<ShapedType>(getWeight().getType());
  auto y = cast<ShapedType>(getOuts().getType());
  int64_t k, n;
  if (w.getRank() == 2) {
    k = w.getDimSize(getTransposeWeight() ? 1 : 0);
    n = w.getDimSize(getTransposeWeight() ? 0 : 1);
  } else if (w.getRank() == 4) {
    k = w.getDimSize(2);
    n = ShapedType::kDynamic; // padded to whole panels
  } else {
    return emitOpError("needs a plain weight of rank 2 or a packed one of "
                       "rank 4, not ")
           << w;
  }
  auto differ = [](int64_t a, int64_t b) {
    return !ShapedType::isDynamic(a) && !ShapedType::isDynamic(b) && a != b;
  };
  // gemm_c1
  if (x.getRank() == 0 || y.getRank() == 0)
    return emitOpError("needs rows, not ") << (x.getRank() ? y : x);
  if (differ(x.getShape().back(), k))
    return emitOpError("multiplies rows of ")
           << x.getShape().back() << " by a weight of depth " << k;
  if (differ(y.getShape().back(), n))
    return emitOpError("writes rows of ")
           << y.getShape().back() << " from a weight of " << n << " columns";
  // gemm_c2
  auto sameRows = [&](ShapedType other) {
    if (other.getRank() != y.getRank())
      return false;
    for (int64_t i = 0; i + 1 < y.getRank(); ++i)
      if (differ(other.getDimSize(i), y.getDimSize(i)))
        return false;
    return true;
  };
  if (!sameRows(x))
    return emitOpError("has rows ") << x << " but destination " << y;
  if (getResidual() && !sameRows(cast<ShapedType>(getResidual().getType())))
    return emitOpError("has residual ")
           << getResidual().getType() << " but destination " << y;
  return success();
}

LogicalResult RmsNormOp::verify() {
  // rms_norm_c1
  return verifyLastIs(*this, getX(), getScale(), "scale");
}

LogicalResult LayerNormOp::verify() {
  // layer_norm_c1
  if (failed(verifyLastIs(*this, getX(), getScale(), "scale")))
    return failure();
  return getBias() ? verifyLastIs(*this, getX(), getBias(), "bias") : success();
}

LogicalResult RopeTableOp::verify() {
  // rope_table_c1
  if (getOuts().size() != 2)
    return emitOpError("needs two destinations, cosines and sines, not ")
           << getOuts().size();
  for (Value out : getOuts())
    if (rank(out) != rank(getPositions()) + 1)
      return emitOpError("needs destinations of rank ")
             << rank(getPositions()) + 1 << ", not " << out.getType();
  return success();
}

LogicalResult RopeOp::verify() {
  // rope_c1
  if (rank(getX()) != 4 || rank(getOuts()) != 4)
    return emitOpError("rotates [batch, sequence, heads, features], not ")
           << getX().getType();
  if (rank(getCos()) != 3 || rank(getSin()) != 3)
    return emitOpError("needs tables [batch, sequence, pairs], not ")
           << getCos().getType();
  return success();
}

LogicalResult KvAppendOp::verify() {
  // kv_append_c1
  for (Value value : getOperands())
    if (rank(value) != 4)
      return emitOpError("needs operands of rank 4, not ") << value.getType();
  return success();
}

LogicalResult AttentionOp::verify() {
  // attention_c1
  for (Value value : {getQuery(), getKey(), getValue(), getOuts()})
    if (rank(value) != 4)
      return emitOpError("needs operands of rank 4, not ") << value.getType();
  // attention_c2
  int64_t heads = cast<ShapedType>(getQuery().getType()).getDimSize(2);
  int64_t groups = cast<ShapedType>(getKey().getType()).getDimSize(1);
  if (!ShapedType::isDynamic(heads) && !ShapedType::isDynamic(groups) &&
      heads % groups != 0)
    return emitOpError("has ") << heads << " query heads, not a multiple of "
                               << groups << " key heads";
  return success();
}

LogicalResult RouteOp::verify() {
  // route_c2
  if (getOuts().size() != 2)
    return emitOpError("needs two destinations, ids and weights, not ")
           << getOuts().size();
  for (Value value : {getLogits(), getOuts()[0], getOuts()[1]})
    if (rank(value) != 2)
      return emitOpError("needs operands of rank 2, not ") << value.getType();
  // route_c1
  int64_t experts = cast<ShapedType>(getLogits().getType()).getShape().back();
  int64_t k = cast<ShapedType>(getOuts()[0].getType()).getShape().back();
  if (!ShapedType::isDynamic(experts) && !ShapedType::isDynamic(k) &&
      k > experts)
    return emitOpError("picks ") << k << " of " << experts << " experts";
  return success();
}

std::string moe::moert::badRouteCount(int64_t most) {
  return "layer '%s' takes 1 to " + std::to_string(most) +
         " experts per token, not %lld";
}

ArrayRef<float> moe::moert::codeTable(Coding coding) {
  return coding == Coding::Nf4 ? ArrayRef(kNf4Table) : ArrayRef(kFp4Table);
}

LogicalResult ExpertFfnOp::verify() {
  // expert_ffn_c1
  if (rank(getX()) != 2 || rank(getOuts()) != 2 ||
      (getResidual() && rank(getResidual()) != 2))
    return emitOpError("works on rows [tokens, features], not ")
           << getX().getType();
  // expert_ffn_c2
  if (cast<ShapedType>(getIds().getType()).getShape() !=
      cast<ShapedType>(getWeights().getType()).getShape())
    return emitOpError("has ids ")
           << getIds().getType() << " but weights " << getWeights().getType();
  // expert_ffn_c3
  int64_t matrices = cast<ShapedType>(getUp().getType()).getShape().front();
  if (std::optional<ArrayRef<int64_t>> entries = getEntries())
    for (int64_t entry : *entries)
      if (entry < -1 || entry >= matrices)
        return emitOpError("maps a column to matrix ")
               << entry << " of " << matrices;
  // expert_ffn_c4
  auto fits = [&](const Matrix &matrix, StringRef name) -> LogicalResult {
    auto [weights, scales, zeros, coding, block] = matrix;
    if (!weights) {
      if (coding || scales || zeros || block)
        return emitOpError("has a coding, scales or a block for ")
               << name << ", which it lacks";
      return success();
    }
    if (!coding) {
      if (scales || zeros || block)
        return emitOpError("has scales, zeros or a block for ")
               << name << ", which is not coded";
      return success();
    }
    auto type = cast<ShapedType>(weights.getType());
    if (type.getRank() != 4 || !type.getElementType().isInteger(8))
      return emitOpError("needs packed bytes for ")
             << name << " that is coded, not " << type;
    if (!scales || !block || *block < 0)
      return emitOpError("needs scales and a block for ")
             << name << " that is coded";
    if (zeros && *coding != Coding::Int8 && *coding != Coding::Int4)
      return emitOpError("has zeros for ")
             << name << " of " << stringifyCoding(*coding)
             << ", which has none";
    int64_t depth = type.getDimSize(2);
    int64_t blocks = *block ? (depth + *block - 1) / *block : 1;
    SmallVector<int64_t> shape(type.getShape());
    shape[2] = blocks;
    SmallVector<int64_t> wide = shape;
    wide[3] = getPanelWidth(weights, coding);
    auto has = [](Value v, ArrayRef<int64_t> shape) {
      return cast<ShapedType>(v.getType()).getShape() == shape;
    };
    if (!has(scales, wide))
      return emitOpError("has scales ")
             << scales.getType() << " for " << name << " " << type
             << " in blocks of " << *block;
    if (zeros &&
        (!has(zeros, shape) ||
         !cast<ShapedType>(zeros.getType()).getElementType().isInteger(8)))
      return emitOpError("has zeros ")
             << zeros.getType() << " for " << name << " " << type
             << " in blocks of " << *block;
    return success();
  };
  // expert_ffn_c5
  auto feeds = [&](const Matrix &low, const Matrix &matrix,
                   StringRef name) -> LogicalResult {
    if (!low.values)
      return success();
    auto lowType = cast<ShapedType>(low.values.getType());
    auto type = cast<ShapedType>(matrix.values.getType());
    if (lowType.getRank() != 4 || type.getRank() != 4)
      return emitOpError("needs packed factors, not ")
             << lowType << " and " << type << " for " << name;
    int64_t columns =
        lowType.getDimSize(1) * getPanelWidth(low.values, low.coding);
    if (lowType.getDimSize(0) != type.getDimSize(0) ||
        columns < type.getDimSize(2))
      return emitOpError("has factors ")
             << lowType << " and " << type << " for " << name
             << ", which do not fit";
    return success();
  };
  // The first factor reads the features.
  int64_t features = cast<ShapedType>(getX().getType()).getShape().back();
  auto reads = [&](const Matrix &low) -> LogicalResult {
    if (!low.values || ShapedType::isDynamic(features))
      return success();
    auto type = cast<ShapedType>(low.values.getType());
    if (type.getDimSize(2) == features)
      return success();
    return emitOpError("has a factor ")
           << type << " for " << features << " features";
  };
  if (failed(fits(getUpMatrix(), "up")) ||
      failed(fits(getDownMatrix(), "down")) ||
      failed(fits(getUpLowMatrix(), "up_low")) ||
      failed(fits(getDownLowMatrix(), "down_low")) ||
      failed(feeds(getUpLowMatrix(), getUpMatrix(), "up")) ||
      failed(feeds(getDownLowMatrix(), getDownMatrix(), "down")) ||
      failed(reads(getUpLowMatrix())))
    return failure();
  return success();
}
