#include "dialects/MoE/MoEOps.h"

using namespace mlir;

#include "dialects/MoE/MoEDialect.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/MoE/MoEOps.cpp.inc"

void moe::MoEDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/MoE/MoEOps.cpp.inc"
      >();
}
