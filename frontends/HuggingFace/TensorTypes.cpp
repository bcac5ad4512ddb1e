#include "frontends/HuggingFace/TensorTypes.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

Type moe::hf::elementOf(StringRef dtype, MLIRContext *context) {
  Builder b(context);
  return llvm::StringSwitch<Type>(dtype)
      .Case("BF16", b.getBF16Type())
      .Case("F16", b.getF16Type())
      .Case("F32", b.getF32Type())
      .Case("F64", b.getF64Type())
      .Case("F8_E4M3", b.getType<Float8E4M3FNType>())
      .Case("F8_E5M2", b.getType<Float8E5M2Type>())
      .Case("F8_E8M0", b.getType<Float8E8M0FNUType>())
      .Case("I8", b.getI8Type())
      .Case("I16", b.getIntegerType(16))
      .Case("I32", b.getI32Type())
      .Case("I64", b.getI64Type())
      .Cases({"U8", "BOOL"}, b.getIntegerType(8, false))
      .Case("U16", b.getIntegerType(16, false))
      .Case("U32", b.getIntegerType(32, false))
      .Case("U64", b.getIntegerType(64, false))
      .Default(Type());
}

StringRef moe::hf::dtypeOf(Type element) {
  for (StringRef dtype :
       {"BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "I8",
        "I16", "I32", "I64", "U8", "U16", "U32", "U64"})
    if (elementOf(dtype, element.getContext()) == element)
      return dtype;
  return "";
}
