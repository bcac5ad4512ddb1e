// RUN: not moe-opt %s --moe-verify-phase=raisd 2>&1 | FileCheck %s
// RUN: not moe-opt %s --moe-verify-phase 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: unknown phase 'raisd', expected imported, raised, optimized, bufferized or llvm
// NONE: unknown phase ''
