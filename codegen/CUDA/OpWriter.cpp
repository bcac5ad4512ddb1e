#include "codegen/CUDA/OpWriter.h"

#include "codegen/CUDA/LayerShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

std::nullopt_t OpWriter::refuse(const Twine &why) {
  // The context keeps the text.
  if (reason.empty())
    reason = StringAttr::get(op->getContext(), why).getValue();
  return std::nullopt;
}

static bool isReal(Type type) {
  return type.isF32() || type.isBF16() || type.isF16();
}

static bool fits(Type type, OpWriter::Elements elements) {
  switch (elements) {
  case OpWriter::Elements::Real:
    return isReal(type);
  case OpWriter::Elements::Integer:
    return type.isInteger(32) || type.isInteger(64);
  case OpWriter::Elements::Any:
    return isReal(type) || type.isIndex() || type.isInteger(1) ||
           type.isInteger(8) || type.isInteger(16) || type.isInteger(32) ||
           type.isInteger(64);
  case OpWriter::Elements::Bits:
    return type.isIntOrIndexOrFloat() &&
           (type.isIndex() || type.isInteger(1) ||
            llvm::is_contained({8u, 16u, 32u, 64u},
                               type.getIntOrFloatBitWidth()));
  }
  llvm_unreachable("all are handled");
}

OpWriter::Memory OpWriter::memory(Value memref, Elements elements,
                                  StringRef what) {
  auto type = dyn_cast<MemRefType>(memref.getType());
  if (!type || !type.getLayout().isIdentity()) {
    refuse(what + " is not dense memory");
    return {};
  }
  return strided(memref, elements, what);
}

OpWriter::Memory OpWriter::strided(Value memref, Elements elements,
                                   StringRef what) {
  Memory memory;
  auto type = dyn_cast<MemRefType>(memref.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (!type || failed(type.getStridesAndOffset(strides, offset))) {
    refuse(what + " is not memory with strides");
    return memory;
  }
  memory.element = type.getElementType();
  if (!fits(memory.element, elements))
    refuse(what + " has numbers of type " + typeName(memory.element));
  if (elements == Elements::Bits && !memory.element.isIndex() &&
      memory.element.isIntOrFloat())
    memory.element = IntegerType::get(
        op->getContext(), std::max(8u, memory.element.getIntOrFloatBitWidth()));
  memory.index = made.memories.size();
  made.memories.push_back(memref);
  for (int64_t d = 0; d < type.getRank(); ++d) {
    if (!type.isDynamicDim(d)) {
      memory.sizes.push_back({type.getDimSize(d)});
      continue;
    }
    memory.sizes.push_back({std::nullopt, unsigned(numbers.size())});
    numbers.push_back({memref, Given::SizeOf, unsigned(d)});
  }
  if (type.getLayout().isIdentity())
    return memory;
  for (auto [d, stride] : llvm::enumerate(strides)) {
    if (!ShapedType::isDynamic(stride)) {
      memory.strides.push_back({stride});
      continue;
    }
    memory.strides.push_back({std::nullopt, unsigned(numbers.size())});
    numbers.push_back({memref, Given::StrideOf, unsigned(d)});
  }
  return memory;
}

OpWriter::Memory OpWriter::scratch() {
  Memory memory;
  memory.element = Float32Type::get(op->getContext());
  memory.index = made.memories.size();
  made.memories.push_back(Value());
  return memory;
}

OpWriter::Memory OpWriter::scratch(Value count) {
  made.scratch = count;
  return scratch();
}

OpWriter::Size OpWriter::number(Value scalar) {
  Size size{std::nullopt, unsigned(numbers.size())};
  numbers.push_back({scalar});
  Type type = scalar.getType();
  if (!fits(type, Elements::Any))
    refuse("it uses a number of type " + typeName(type));
  return size;
}

void OpWriter::takeFaults(StringRef message, StringRef where) {
  made.takesFaults = true;
  made.faultMessage = message.str();
  made.faultWhere = where.str();
}

/// What a kernel takes for a scalar: narrow ones widened.
static Value asNumber(OpBuilder &b, Location loc, Value value) {
  Type type = value.getType();
  if (type.isIndex() || type.isInteger(64) || type.isInteger(32) ||
      type.isF32())
    return value;
  if (isa<FloatType>(type))
    return arith::ExtFOp::create(b, loc, b.getF32Type(), value);
  return arith::ExtUIOp::create(b, loc, b.getI32Type(), value);
}

Value OpWriter::onHost(const Given &given) {
  Location loc = op->getLoc();
  switch (given.kind) {
  case Given::Scalar:
    return asNumber(host, loc, given.value);
  case Given::SizeOf:
    return memref::DimOp::create(host, loc, given.value, given.d);
  case Given::StrideOf:
    return memref::ExtractStridedMetadataOp::create(host, loc, given.value)
        .getStrides()[given.d];
  }
  llvm_unreachable("all are handled");
}

MadeKernel OpWriter::write(StringRef family, int64_t shared,
                           llvm::function_ref<void(CudaBuilder &)> body) {
  if (isRefused())
    return std::nullopt;
  OpBuilder::InsertionGuard guard(host);
  host.setInsertionPoint(op);
  SmallVector<Type> types(made.memories.size() + made.takesFaults,
                          CudaBuilder::global(op->getContext()));
  for (const Given &given : numbers) {
    Value number = onHost(given);
    made.numbers.push_back(number);
    Type type = number.getType();
    types.push_back(type.isIndex() ? host.getI64Type() : type);
  }
  CudaBuilder::kernel(kernels, family, types, kLayerThreads, shared,
                      [&](CudaBuilder &builder, ArrayRef<Num> given) {
                        k = &builder;
                        arguments = given;
                        body(builder);
                      });
  auto kernel = cast<moegpu::KernelOp>(kernels.getBody()->back());
  std::string text;
  llvm::raw_string_ostream stream(text);
  kernel->print(stream);
  made.name = (family + "_" +
               llvm::utohexstr(llvm::xxh3_64bits(stream.str()), true, 16))
                  .str();
  if (kernels.lookupSymbol(made.name))
    kernel.erase();
  else
    kernel.setSymName(made.name);
  return made;
}

void OpWriter::checkCount(Value count, int64_t most, StringRef layer) {
  OpBuilder::InsertionGuard guard(host);
  host.setInsertionPoint(op);
  Location loc = op->getLoc();
  auto is = [&](arith::CmpIPredicate predicate, int64_t limit) {
    Value number = arith::ConstantIndexOp::create(host, loc, limit);
    return arith::CmpIOp::create(host, loc, predicate, count, number);
  };
  Value fits =
      arith::AndIOp::create(host, loc, is(arith::CmpIPredicate::sge, 1),
                            is(arith::CmpIPredicate::sle, most));
  moert::CheckOp::create(host, loc, fits, moert::badRouteCount(most),
                         host.getStringAttr(layer), count);
}

// --- within a kernel

Num OpWriter::size(Size size) {
  if (size.constant)
    return k->integer(*size.constant);
  return arguments[made.memories.size() + made.takesFaults + size.number];
}

Num OpWriter::count(const Memory &memory, unsigned trailing) {
  Num product = k->integer(1);
  for (unsigned d = 0; d + trailing < memory.sizes.size(); ++d)
    product = product * size(memory, d);
  return product;
}

Num OpWriter::stride(const Memory &memory, unsigned d) {
  if (!memory.strides.empty())
    return size(memory.strides[d]);
  Num product = k->integer(1);
  for (unsigned after = d + 1; after < memory.sizes.size(); ++after)
    product = product * size(memory, after);
  return product;
}

Num OpWriter::place(const Memory &memory, ArrayRef<Num> indices) {
  Num at = k->integer(0);
  for (auto [d, index] : llvm::enumerate(indices))
    at = memory.strides.empty() ? at * size(memory, d) + index
                                : at + index * stride(memory, d);
  return at;
}

Num OpWriter::scalar(Size size, Type type) {
  Num given = this->size(size);
  if (type.isIndex())
    return {*k, arith::IndexCastOp::create(k->b, k->loc, type, given.value)};
  return k->convert(given, type);
}

static Type storedType(Type type, OpBuilder &b) {
  return type.isIndex()      ? b.getI64Type()
         : type.isInteger(1) ? b.getI8Type()
                             : type;
}

Num OpWriter::read(const Memory &memory, Num index) {
  Type type = memory.element;
  Num value = k->load(storedType(type, k->b), base(memory), index);
  if (type.isIndex())
    return {*k, arith::IndexCastOp::create(k->b, k->loc, type, value.value)};
  if (type.isInteger(1)) // any byte but 0 is true
    return (value == 0) == k->convert(value.like(0), type);
  return k->convert(value, type);
}

void OpWriter::write(Num value, const Memory &memory, Num index) {
  Type type = memory.element;
  if (type.isIndex())
    value = {*k,
             arith::IndexCastOp::create(k->b, k->loc, k->i64(), value.value)};
  if (type.isInteger(1))
    value = {*k, arith::ExtUIOp::create(k->b, k->loc, k->b.getI8Type(),
                                        value.value)};
  k->store(value, base(memory), index);
}

Num OpWriter::readReal(const Memory &memory, Num index) {
  return k->convert(k->load(memory.element, base(memory), index), k->f32());
}

void OpWriter::writeReal(Num value, const Memory &memory, Num index) {
  k->store(k->convert(value, memory.element), base(memory), index);
}

void OpWriter::fault(Num n) {
  k->store(k->convert(n + 1, k->i32()), arguments[made.memories.size()],
           k->integer(0));
}
