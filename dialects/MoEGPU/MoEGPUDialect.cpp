#include "dialects/MoEGPU/MoEGPUDialect.h"

#include "dialects/MoEGPU/MoEGPUOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionImplementation.h"

using namespace mlir;
using namespace moe::moegpu;

#include "dialects/MoEGPU/MoEGPUDialect.cpp.inc"
#include "dialects/MoEGPU/MoEGPUEnums.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/MoEGPU/MoEGPUOps.cpp.inc"

void MoEGPUDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/MoEGPU/MoEGPUOps.cpp.inc"
      >();
}

int64_t moe::moegpu::sizeOf(Type value) {
  int64_t count = 1;
  if (auto vector = dyn_cast<VectorType>(value)) {
    count = vector.getNumElements();
    value = vector.getElementType();
  }
  return count * value.getIntOrFloatBitWidth() / 8;
}

//===----------------------------------------------------------------------===//
// KernelOp
//===----------------------------------------------------------------------===//

void KernelOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                     ArrayRef<Type> arguments, int32_t threads,
                     int64_t shared) {
  state.addAttribute(getSymNameAttrName(state.name),
                     builder.getStringAttr(name));
  state.addAttribute(
      getFunctionTypeAttrName(state.name),
      TypeAttr::get(builder.getFunctionType(arguments, TypeRange())));
  state.addAttribute(getThreadsAttrName(state.name),
                     builder.getI32IntegerAttr(threads));
  state.addAttribute(getSharedAttrName(state.name),
                     builder.getI64IntegerAttr(shared));
  Region *body = state.addRegion();
  Block &entry = body->emplaceBlock();
  for (Type type : arguments)
    entry.addArgument(type, state.location);
}

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  bool isVariadic = false;
  SmallVector<Type> results;
  SmallVector<DictionaryAttr> resultAttributes;
  IntegerAttr threads, shared;
  Builder &builder = parser.getBuilder();
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name),
                             result.attributes) ||
      function_interface_impl::parseFunctionSignatureWithArguments(
          parser, /*allowVariadic=*/false, arguments, isVariadic, results,
          resultAttributes) ||
      parser.parseKeyword("threads") ||
      parser.parseAttribute(threads, builder.getI32Type(),
                            getThreadsAttrName(result.name),
                            result.attributes) ||
      parser.parseKeyword("shared") ||
      parser.parseAttribute(shared, builder.getI64Type(),
                            getSharedAttrName(result.name), result.attributes))
    return failure();
  SmallVector<Type> types;
  for (const OpAsmParser::Argument &argument : arguments)
    types.push_back(argument.type);
  result.addAttribute(getFunctionTypeAttrName(result.name),
                      TypeAttr::get(builder.getFunctionType(types, results)));
  call_interface_impl::addArgAndResultAttrs(
      builder, result, arguments, resultAttributes,
      getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  call_interface_impl::printFunctionSignature(
      printer, getArgumentTypes(), getArgAttrsAttr(), /*isVariadic=*/false,
      /*resultTypes=*/{}, getResAttrsAttr(), &getBody(),
      /*printEmptyResult=*/false);
  printer << " threads " << getThreads() << " shared " << getShared();
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {getSymNameAttrName(), getFunctionTypeAttrName(), getThreadsAttrName(),
       getSharedAttrName(), getArgAttrsAttrName(), getResAttrsAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

// kernel_c1
LogicalResult KernelOp::verify() {
  int64_t threads = static_cast<int32_t>(getThreads());
  if (threads < 32 || threads > 1024 || threads % 32 != 0)
    return emitOpError("has ") << threads
                               << " threads; a block has a multiple of 32, at "
                                  "most 1024";
  // What a block of sm_90 can have.
  if (int64_t bytes = static_cast<int64_t>(getShared());
      bytes < 0 || bytes > 227 << 10)
    return emitOpError("asks for ")
           << bytes << " bytes of shared memory; a block has at most "
           << (227 << 10);
  if (!getFunctionType().getResults().empty())
    return emitOpError("has results; kernels write to memory");
  if (getBody().empty())
    return emitOpError("has no body");
  for (Type type : getArgumentTypes()) {
    auto pointer = dyn_cast<LLVM::LLVMPointerType>(type);
    bool isNumber = type.isInteger(32) || type.isInteger(64) || type.isF32();
    bool isPointer = pointer && (pointer.getAddressSpace() == kGlobal ||
                                 pointer.getAddressSpace() == kTensorMap);
    if (!isNumber && !isPointer)
      return emitOpError("takes ")
             << type
             << "; arguments are !llvm.ptr<1>, i32, i64, f32 or, as tensor "
                "maps, !llvm.ptr";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static LogicalResult verifyAccess(Operation *op, Type value) {
  if (sizeOf(value) > 16)
    return op->emitOpError("moves ")
           << value << ", more than the 16 bytes of one access";
  return success();
}

// load_c1
LogicalResult LoadOp::verify() {
  if (failed(verifyAccess(*this, getResult().getType())))
    return failure();
  auto pointer = cast<LLVM::LLVMPointerType>(getPointer().getType());
  if (getCaching() == Caching::Streaming &&
      (pointer.getAddressSpace() != kGlobal ||
       sizeOf(getResult().getType()) != 16))
    return emitOpError("streams something other than 16 bytes of global "
                       "memory");
  return success();
}

// store_c1
LogicalResult StoreOp::verify() {
  return verifyAccess(*this, getValue().getType());
}

// packed_fma_c1
LogicalResult PackedFmaOp::verify() {
  if (getKind() != MmaKind::BF16 && getKind() != MmaKind::F16)
    return emitOpError("takes ") << stringifyMmaKind(getKind())
                                 << " numbers; registers hold two of bf16 or "
                                    "f16";
  return success();
}

// async_copy_c1
LogicalResult AsyncCopyOp::verify() {
  int64_t size = static_cast<int32_t>(getSize());
  if (size != 4 && size != 8 && size != 16)
    return emitOpError("copies ") << size << " bytes, not 4, 8 or 16";
  return success();
}

//===----------------------------------------------------------------------===//
// sm_90
//===----------------------------------------------------------------------===//

/// What counters of a barrier hold.
static LogicalResult verifyCount(Operation *op, const char *verb,
                                 int64_t count) {
  if (count < 1 || count >= 1 << 20)
    return op->emitOpError(verb)
           << " " << count << "; it can be 1 to " << (1 << 20) - 1;
  return success();
}

// mbarrier_init_c1
LogicalResult MBarrierInitOp::verify() {
  return verifyCount(*this, "counts to", static_cast<int32_t>(getCount()));
}

// mbarrier_expect_c1
LogicalResult MBarrierExpectOp::verify() {
  return verifyCount(*this, "expects bytes:", static_cast<int32_t>(getBytes()));
}

// named_barrier_c1
LogicalResult NamedBarrierOp::verify() {
  int64_t threads = static_cast<int32_t>(getThreads());
  if (threads < 32 || threads > 1024 || threads % 32 != 0)
    return emitOpError("is of ") << threads
                                 << " threads; it takes a multiple of 32, at "
                                    "most 1024";
  return success();
}

// max_registers_c1
LogicalResult MaxRegistersOp::verify() {
  int64_t count = static_cast<int32_t>(getCount());
  if (count < 24 || count > 256 || count % 8 != 0)
    return emitOpError("asks for ")
           << count << " registers; it can be a multiple of 8, 24 to 256";
  return success();
}

static LogicalResult verifySums(Operation *op, VectorType type, MmaKind kind) {
  int64_t sums = type.getNumElements();
  if (sums % 4 != 0 || sums > 128)
    return op->emitOpError("has ")
           << sums
           << " sums of a thread; it can be a multiple of 4, at most 128";
  if (kind == MmaKind::TF32)
    return op->emitOpError("takes ")
           << stringifyMmaKind(kind) << " numbers; rows hold bf16, f16 or e4m3";
  return success();
}

// wgmma_c1, wgmma_c2
LogicalResult WgmmaOp::verify() {
  return verifySums(*this, getC().getType(), getKind());
}

// wgmma_registers_c1, wgmma_registers_c2, wgmma_registers_c3
LogicalResult WgmmaRegistersOp::verify() {
  if (failed(verifySums(*this, getC().getType(), getKind())))
    return failure();
  int64_t count = getA().getType().getNumElements();
  int64_t first = static_cast<int32_t>(getFirst());
  if (count % 4 != 0 || first < 0 || first + count / 4 > 4)
    return emitOpError("has ")
           << count << " registers of rows from step " << first
           << "; it can be four for each of four steps";
  return success();
}
