#include "passes/Compress/Storage.h"

#include "mlir/IR/Builders.h"
#include "passes/Analysis/Recipe.h"

using namespace mlir;
using namespace moe;

double Storage::bytes() const {
  if (plain)
    return 2;
  double own = static_cast<double>(bits) / 8;
  double scale = code == "fp4" ? 1 : 2;
  return block ? own + (scale + asymmetric) / static_cast<double>(block) : own;
}

std::optional<Storage> moe::storageOf(MLIRContext *context, StringRef name,
                                      int64_t block, bool asymmetric) {
  if (name == "int8" || name == "int4")
    return Storage{name, name == "int8" ? 8 : 4, "int", {}, block, asymmetric};
  if (name == "mxfp4")
    return Storage{name, 4, "fp4", {}, block, asymmetric};
  if (name == "nf4")
    return Storage{name, 4, "nf4", {}, block, asymmetric};
  if (name == "fp8")
    return Storage{name, 8, "fp8", {}, block, asymmetric};
  if (name == "bf16")
    return Storage{name, 16, "", BFloat16Type::get(context), block, asymmetric};
  if (name == "f16")
    return Storage{name, 16, "", Float16Type::get(context), block, asymmetric};
  return std::nullopt;
}

LogicalResult moe::checkStorage(const Storage &storage,
                                function_ref<InFlightDiagnostic()> emitError) {
  int64_t block = storage.block;
  if (block != 0 && block != 32 && block != 64 && block != 128)
    return emitError() << "block is 32, 64, 128, or 0 for a row, not " << block;
  if (storage.code == "fp4" && block != 32)
    return emitError() << "mxfp4 has blocks of 32 inputs, not " << block
                       << " (OCP Microscaling Formats 1.0, section 5.2)";
  if (storage.asymmetric && storage.code != "int")
    return emitError() << "only int8 and int4 are asymmetric, not "
                       << storage.name;
  return success();
}

FailureOr<SliceAttr> moe::addStored(const MoELayer &layer, ExpertOp expert,
                                    StringRef matrix, SliceAttr slice,
                                    const Storage &storage,
                                    const CodeChoice &choice,
                                    SymbolTable &symbols) {
  auto shape = shapeOf(expert, slice, symbols);
  if (failed(shape))
    return failure();
  int64_t rows = shape->front(), columns = shape->back();
  MLIRContext *context = expert.getContext();
  PoolOp pool = layer.pool;
  std::string prefix = (pool.getSymName() + "." + expert.getEntryName() + "." +
                        matrix + "." + storage.name)
                           .str();
  Builder builder(context);
  if (storage.plain) {
    auto recipe = MixAttr::get(context, builder.getArrayAttr(slice),
                               builder.getF64ArrayAttr(1.0));
    return wholeOf(
        addBank(layer, symbols, prefix, recipe,
                RankedTensorType::get({rows, columns}, storage.plain)));
  }
  int64_t block = storage.block, each = 8 / storage.bits;
  if (columns % each != 0 || (block != 0 && columns % block != 0)) {
    int64_t own = block ? block : each;
    InFlightDiagnostic error = emitLayerError(layer)
                               << "expert '" << expert.getEntryName()
                               << "': matrix '" << matrix << "' has " << columns
                               << " inputs, which blocks of " << own
                               << " do not divide";
    if (matrix.ends_with(".left"))
      error << " (factorize-experts{multiple=" << own
            << "} makes ranks that they do)";
    return error;
  }
  auto code = storage.code == "int" ? StringAttr()
                                    : builder.getStringAttr(storage.code);
  auto recipe = [&](StringRef part) {
    return QuantizeAttr::get(context, slice, storage.bits, block,
                             builder.getStringAttr(part), code,
                             storage.asymmetric, choice.moments, choice.gram);
  };
  Type unsigned8 = builder.getIntegerType(8, /*isSigned=*/false);
  auto perBlock = [&](Type element) {
    SmallVector<int64_t> sizes{rows};
    if (block)
      sizes.push_back(columns / block);
    return RankedTensorType::get(sizes, element);
  };
  Type codes = storage.code == "fp8" ? Type(builder.getType<Float8E4M3FNType>())
                                     : unsigned8;
  Type scale = storage.code == "fp4"
                   ? Type(builder.getType<Float8E8M0FNUType>())
                   : builder.getF16Type();
  BankOp values = addBank(layer, symbols, prefix, recipe("values"),
                          RankedTensorType::get({rows, columns / each}, codes));
  BankOp scales = addBank(layer, symbols, prefix + ".scales", recipe("scales"),
                          perBlock(scale));
  SliceAttr zeros;
  if (storage.asymmetric)
    zeros = wholeOf(addBank(layer, symbols, prefix + ".zeros", recipe("zeros"),
                            perBlock(unsigned8)));
  auto quant =
      QuantAttr::get(context, storage.bits, block, wholeOf(scales), zeros,
                     storage.code == "fp8" ? "int" : storage.code);
  return SliceAttr::get(context,
                        FlatSymbolRefAttr::get(values.getSymNameAttr()), {},
                        false, quant);
}
