#include "codegen/LLVM/ModelDescriptor.h"

#include "codegen/CUDA/DeviceCode.h"
#include "runtime/IRInterface.h"
#include "llvm/IR/IRBuilder.h"

using namespace mlir;
using namespace moe;

static int32_t dtypeOf(Type element) {
  if (element.isF32())
    return MOERT_F32;
  if (element.isF16())
    return MOERT_F16;
  if (element.isBF16())
    return MOERT_BF16;
  if (element.isF64())
    return MOERT_F64;
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return 0;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return MOERT_BOOL;
  case 8:
    return isUnsigned ? MOERT_U8 : MOERT_I8;
  case 16:
    return isUnsigned ? MOERT_U16 : MOERT_I16;
  case 32:
    return isUnsigned ? MOERT_U32 : MOERT_I32;
  case 64:
    return isUnsigned ? MOERT_U64 : MOERT_I64;
  default:
    return 0;
  }
}

FailureOr<ModelSignature> moe::collectSignature(func::FuncOp main) {
  ModelSignature signature;
  auto collect = [&](Type type, DictionaryAttr attributes, StringRef fallback,
                     unsigned index) -> FailureOr<Port> {
    auto shaped = dyn_cast<ShapedType>(type);
    if (!shaped || !shaped.hasRank() || shaped.getRank() > MOERT_MAX_RANK)
      return main.emitError()
             << fallback << " " << index << " has type " << type
             << "; a model takes and gives tensors of rank 0 to "
             << MOERT_MAX_RANK;
    Port port;
    port.dtype = dtypeOf(shaped.getElementType());
    if (!port.dtype)
      return main.emitError()
             << fallback << " " << index << " has elements of type "
             << shaped.getElementType()
             << ", which cannot cross the model's border";
    auto name =
        attributes ? attributes.getAs<StringAttr>("moe.name") : StringAttr();
    port.name = name ? name.str() : (fallback + std::to_string(index)).str();
    auto symbols =
        attributes ? attributes.getAs<ArrayAttr>("moe.dims") : ArrayAttr();
    for (auto [i, size] : llvm::enumerate(shaped.getShape())) {
      port.dims.push_back(ShapedType::isDynamic(size) ? -1 : size);
      bool named = symbols && i < symbols.size() && ShapedType::isDynamic(size);
      port.symbols.push_back(named ? cast<StringAttr>(symbols[i]).str()
                                   : std::string());
    }
    return port;
  };
  for (unsigned i = 0; i < main.getNumArguments(); ++i) {
    auto port =
        collect(main.getArgumentTypes()[i], main.getArgAttrDict(i), "input", i);
    if (failed(port))
      return failure();
    signature.inputs.push_back(*port);
  }
  for (unsigned i = 0; i < main.getNumResults(); ++i) {
    auto port = collect(main.getResultTypes()[i], main.getResultAttrDict(i),
                        "output", i);
    if (failed(port))
      return failure();
    signature.outputs.push_back(*port);
  }
  return signature;
}

namespace {
/// Builds the descriptor's constants and the run function.
class Emitter {
public:
  Emitter(llvm::Module &module)
      : module(module), context(module.getContext()), builder(context),
        ptr(llvm::PointerType::get(context, 0)), i8(builder.getInt8Ty()),
        i16(builder.getInt16Ty()), i32(builder.getInt32Ty()),
        i64(builder.getInt64Ty()) {
    tensorType = llvm::StructType::create(
        context, {ptr, i32, i32, llvm::ArrayType::get(i64, MOERT_MAX_RANK)},
        "moert_tensor");
    portType = llvm::StructType::create(context, {ptr, i32, i32, ptr, ptr},
                                        "moert_port");
  }

  llvm::Constant *string(StringRef text) {
    return builder.CreateGlobalString(text, "", 0, &module);
  }

  /// In a section of its own, so that tools find it without running the code
  /// (runtime/Bundle/Manifest.h).
  llvm::Constant *manifest(StringRef text) {
    llvm::GlobalVariable *global =
        builder.CreateGlobalString(text, "moert_manifest", 0, &module);
    global->setSection("moe_manifest");
    return global;
  }

  /// Code for a device, of which drivers read whole words.
  llvm::Constant *image(StringRef bytes) {
    llvm::GlobalVariable *global =
        builder.CreateGlobalString(bytes, "moert_cubin", 0, &module);
    global->setAlignment(llvm::Align(64));
    return global;
  }

  llvm::Constant *array(llvm::Type *element,
                        ArrayRef<llvm::Constant *> values) {
    auto *type = llvm::ArrayType::get(element, values.size());
    auto *global = new llvm::GlobalVariable(
        module, type, /*isConstant=*/true, llvm::GlobalValue::InternalLinkage,
        llvm::ConstantArray::get(type, values), "moert_table");
    return global;
  }

  llvm::Constant *ports(ArrayRef<Port> list) {
    SmallVector<llvm::Constant *> values;
    for (const Port &port : list) {
      SmallVector<llvm::Constant *> dims, symbols;
      for (int64_t size : port.dims)
        dims.push_back(llvm::ConstantInt::getSigned(i64, size));
      for (const std::string &symbol : port.symbols)
        symbols.push_back(string(symbol));
      values.push_back(llvm::ConstantStruct::get(
          portType, {string(port.name), llvm::ConstantInt::get(i32, port.dtype),
                     llvm::ConstantInt::get(i32, port.dims.size()),
                     array(i64, dims), array(ptr, symbols)}));
    }
    return array(portType, values);
  }

  /// MLIR's memref descriptor: two pointers, offset, sizes, strides.
  llvm::StructType *memref(const Port &port) {
    SmallVector<llvm::Type *> fields{ptr, ptr, i64};
    if (!port.dims.empty()) {
      auto *sizes = llvm::ArrayType::get(i64, port.dims.size());
      fields.append({sizes, sizes});
    }
    return llvm::StructType::get(context, fields);
  }

  llvm::Function *run(const ModelSignature &signature) {
    auto *function = llvm::Function::Create(
        llvm::FunctionType::get(builder.getVoidTy(), {ptr, ptr}, false),
        llvm::GlobalValue::InternalLinkage, "moert_run_model", module);
    builder.SetInsertPoint(llvm::BasicBlock::Create(context, "", function));
    llvm::Value *inputs = function->getArg(0), *outputs = function->getArg(1);

    SmallVector<llvm::Value *> arguments;
    SmallVector<llvm::Type *> results;
    for (const Port &port : signature.outputs)
      results.push_back(memref(port));
    llvm::Value *result = nullptr;
    llvm::Type *resultType = nullptr;
    if (!results.empty()) {
      resultType = results.size() == 1
                       ? results[0]
                       : llvm::StructType::get(context, results);
      result = builder.CreateAlloca(resultType);
      arguments.push_back(result);
    }
    for (auto [i, port] : llvm::enumerate(signature.inputs))
      arguments.push_back(packInput(port, inputs, i));
    SmallVector<llvm::Type *> types(arguments.size(), ptr);
    builder.CreateCall(
        module.getOrInsertFunction(
            "_mlir_ciface_main",
            llvm::FunctionType::get(builder.getVoidTy(), types, false)),
        arguments);
    for (auto [i, port] : llvm::enumerate(signature.outputs)) {
      llvm::Value *from = results.size() == 1
                              ? result
                              : builder.CreateStructGEP(resultType, result, i);
      unpackOutput(port, from, outputs, i);
    }
    builder.CreateRetVoid();
    return function;
  }

  /// A moert_device_code, in the layout of IRInterface.h.
  llvm::Constant *device(const cuda::DeviceCode &code) {
    auto number = [&](llvm::Type *type, uint64_t value) -> llvm::Constant * {
      return llvm::ConstantInt::get(type, value);
    };
    auto structure = [&](ArrayRef<llvm::Constant *> fields) {
      return llvm::ConstantStruct::getAnon(context, fields);
    };
    auto kernel = [&](const cuda::KernelFacts &facts) {
      return structure({facts.name.empty() ? llvm::ConstantPointerNull::get(ptr)
                                           : string(facts.name),
                        number(i32, facts.threads),
                        number(i32, facts.sharedBytes),
                        number(i32, facts.mapRows), number(i32, 0)});
    };
    SmallVector<llvm::Constant *> pools, layers, kernels;
    for (const cuda::KernelFacts &facts : code.kernels)
      kernels.push_back(kernel(facts));
    for (auto [pool, own] : llvm::zip(code.pools, code.poolKernels)) {
      const cuda::LayerShape &shape = pool.shape;
      SmallVector<llvm::Constant *> fields;
      for (int64_t size : {shape.experts, shape.topK, pool.entries})
        fields.push_back(number(i64, size));
      fields.push_back(number(i32, pool.panelWidth));
      fields.push_back(number(i32, cuda::sizeOf(shape.element)));
      auto matrix = [&](int64_t rows, int64_t depth, int64_t tiles,
                        int64_t paddedDepth, int64_t bias, bool isGated,
                        const std::optional<rt::CodedRows> &coded) {
        rt::CodedRows format = coded.value_or(rt::CodedRows());
        SmallVector<llvm::Constant *> parts;
        for (int64_t size : {rows, depth, tiles, paddedDepth, format.block})
          parts.push_back(number(i64, size));
        for (int64_t value : {coded ? int64_t(0) : pool.element,
                              static_cast<int64_t>(format.coding),
                              static_cast<int64_t>(format.scale),
                              int64_t(format.hasZeros), bias, int64_t(isGated)})
          parts.push_back(number(i32, value));
        fields.push_back(structure(parts));
      };
      auto first = [&](const cuda::LayerShape &shape, bool isThere,
                       int64_t bias) {
        matrix(isThere ? shape.hidden : 0, shape.inputs,
               isThere ? shape.upTiles() : 0, shape.inputRoom(), bias,
               shape.isGlu, shape.upCoded);
      };
      const cuda::LayerShape down = shape.downProduct();
      first(shape.upProduct(), !pool.isMatrix, pool.upBias);
      matrix(down.outputs, down.hidden, down.paddedOutputs() / 16,
             down.hiddenRoom(), pool.downBias, false, down.downCoded);
      first(shape.upLow(), shape.upRank != 0, 0);
      first(shape.downLow(), shape.downRank != 0, 0);
      fields.push_back(number(i32, shape.scaleInput));
      fields.push_back(number(i32, 0));
      assert(own.size() == MOERT_NUM_KERNELS);
      for (const cuda::KernelFacts &one : own)
        fields.push_back(kernel(one));
      pools.push_back(structure(fields));
    }
    for (const cuda::DeviceCode::Layer &layer : code.layers) {
      SmallVector<llvm::Constant *> entries;
      for (int32_t entry : layer.entries)
        entries.push_back(llvm::ConstantInt::getSigned(i32, entry));
      auto place = [&](const cuda::DeviceCode::Place &at) {
        return structure({number(i64, at.values), number(i64, at.scales),
                          number(i64, at.zeros), number(i64, at.bias)});
      };
      layers.push_back(
          structure({place(layer.up), place(layer.down), place(layer.upLow),
                     place(layer.downLow), array(i32, entries),
                     number(i32, layer.pool), number(i32, 0)}));
    }
    SmallVector<llvm::Constant *> constants, names;
    for (const cuda::DeviceCode::Constant &constant : code.constants) {
      llvm::Constant *data = llvm::ConstantPointerNull::get(ptr);
      if (!constant.isWeight)
        data = module.getNamedGlobal(constant.symbol);
      if (data)
        constants.push_back(structure(
            {data, number(i64, constant.place), number(i64, constant.bytes)}));
    }
    for (const std::string &name : code.layerNames)
      names.push_back(string(name));
    auto tableOf = [&](ArrayRef<llvm::Constant *> values) -> llvm::Constant * {
      if (values.empty())
        return llvm::ConstantPointerNull::get(ptr);
      return array(values.front()->getType(), values);
    };
    llvm::Constant *value = structure(
        {string(code.architecture), string(code.ptx), number(i32, pools.size()),
         number(i32, layers.size()), tableOf(pools), tableOf(layers),
         number(i32, kernels.size()), number(i32, 0), tableOf(kernels),
         module.getOrInsertGlobal("moert_device_runtime_cuda", i8),
         code.cubin.empty() ? llvm::ConstantPointerNull::get(ptr)
                            : image(code.cubin),
         number(i64, code.cubin.size()), tableOf(constants),
         number(i32, constants.size()), number(i32, 0), tableOf(names)});
    return new llvm::GlobalVariable(module, value->getType(),
                                    /*isConstant=*/true,
                                    llvm::GlobalValue::InternalLinkage, value,
                                    "moert_device_code");
  }

  llvm::StructType *portType, *tensorType;

private:
  llvm::Value *sizeOf(llvm::Value *tensor, unsigned d) {
    llvm::Value *shape = builder.CreateStructGEP(tensorType, tensor, 3);
    return builder.CreateConstGEP1_64(i64, shape, d);
  }

  llvm::Value *packInput(const Port &port, llvm::Value *inputs,
                         unsigned index) {
    llvm::StructType *type = memref(port);
    llvm::Value *slot = builder.CreateAlloca(type);
    llvm::Value *tensor = builder.CreateConstGEP1_64(tensorType, inputs, index);
    llvm::Value *data = builder.CreateLoad(ptr, tensor);
    builder.CreateStore(data, builder.CreateStructGEP(type, slot, 0));
    builder.CreateStore(data, builder.CreateStructGEP(type, slot, 1));
    builder.CreateStore(builder.getInt64(0),
                        builder.CreateStructGEP(type, slot, 2));
    llvm::Value *stride = builder.getInt64(1);
    for (unsigned d = port.dims.size(); d-- > 0;) {
      llvm::Value *size = builder.CreateLoad(i64, sizeOf(tensor, d));
      builder.CreateStore(size,
                          builder.CreateConstGEP1_64(
                              i64, builder.CreateStructGEP(type, slot, 3), d));
      builder.CreateStore(stride,
                          builder.CreateConstGEP1_64(
                              i64, builder.CreateStructGEP(type, slot, 4), d));
      stride = builder.CreateMul(stride, size);
    }
    return slot;
  }

  void unpackOutput(const Port &port, llvm::Value *from, llvm::Value *outputs,
                    unsigned index) {
    llvm::StructType *type = memref(port);
    llvm::Value *tensor =
        builder.CreateConstGEP1_64(tensorType, outputs, index);
    // Function boundaries have the identity layout, but a result may still
    // start inside its buffer.
    llvm::Value *data =
        builder.CreateLoad(ptr, builder.CreateStructGEP(type, from, 1));
    llvm::Value *offset =
        builder.CreateLoad(i64, builder.CreateStructGEP(type, from, 2));
    unsigned width = port.dtype == MOERT_BOOL ? 1 : bytesOf(port.dtype);
    data = builder.CreateGEP(
        i8, data, builder.CreateMul(offset, builder.getInt64(width)));
    builder.CreateStore(data, tensor);
    builder.CreateStore(builder.getInt32(port.dtype),
                        builder.CreateStructGEP(tensorType, tensor, 1));
    builder.CreateStore(builder.getInt32(port.dims.size()),
                        builder.CreateStructGEP(tensorType, tensor, 2));
    for (unsigned d = 0; d < port.dims.size(); ++d) {
      llvm::Value *size = builder.CreateLoad(
          i64, builder.CreateConstGEP1_64(
                   i64, builder.CreateStructGEP(type, from, 3), d));
      builder.CreateStore(size, sizeOf(tensor, d));
    }
  }

  static unsigned bytesOf(int32_t dtype) {
    switch (dtype) {
    case MOERT_I64:
    case MOERT_U64:
    case MOERT_F64:
      return 8;
    case MOERT_F32:
    case MOERT_I32:
    case MOERT_U32:
      return 4;
    case MOERT_F16:
    case MOERT_BF16:
    case MOERT_I16:
    case MOERT_U16:
      return 2;
    default:
      return 1;
    }
  }

  llvm::Module &module;
  llvm::LLVMContext &context;
  llvm::IRBuilder<> builder;
  llvm::PointerType *ptr;
  llvm::IntegerType *i8, *i16, *i32, *i64;
};
} // namespace

void moe::emitDescriptor(llvm::Module &module, const ModelSignature &signature,
                         const DescriptorText &text) {
  llvm::LLVMContext &context = module.getContext();
  Emitter emitter(module);
  llvm::Type *ptr = llvm::PointerType::get(context, 0);
  llvm::Type *i16 = llvm::Type::getInt16Ty(context);
  llvm::Type *i32 = llvm::Type::getInt32Ty(context);
  llvm::Type *i64 = llvm::Type::getInt64Ty(context);
  auto *type = llvm::StructType::create(
      context,
      {i32, i16, i16, ptr, ptr, ptr, i32, i32, ptr, ptr, i64, ptr, ptr, ptr},
      "moert_model");
  auto *slot = cast<llvm::GlobalVariable>(
      module.getOrInsertGlobal("moert_weights_base", ptr));
  // Code reads it, the runtime writes it through the descriptor.
  if (!slot->hasInitializer()) {
    slot->setInitializer(llvm::Constant::getNullValue(ptr));
    slot->setLinkage(llvm::GlobalValue::InternalLinkage);
  }
  auto *value = llvm::ConstantStruct::get(
      type,
      {llvm::ConstantInt::get(i32, MOERT_MAGIC),
       llvm::ConstantInt::get(i16, MOERT_ABI_MAJOR),
       llvm::ConstantInt::get(i16, MOERT_ABI_MINOR), emitter.string(text.name),
       emitter.manifest(text.manifest), emitter.string(text.cpuFeatures),
       llvm::ConstantInt::get(i32, signature.inputs.size()),
       llvm::ConstantInt::get(i32, signature.outputs.size()),
       emitter.ports(signature.inputs), emitter.ports(signature.outputs),
       llvm::ConstantInt::get(i64, text.weightsSize), slot,
       emitter.run(signature),
       text.device
           ? emitter.device(*text.device)
           : llvm::ConstantPointerNull::get(cast<llvm::PointerType>(ptr))});
  new llvm::GlobalVariable(module, type, /*isConstant=*/true,
                           llvm::GlobalValue::ExternalLinkage, value,
                           "moert_model_descriptor");
}
