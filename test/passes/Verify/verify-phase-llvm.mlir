// RUN: moe-opt %s --split-input-file --moe-verify-phase=llvm --verify-diagnostics -o /dev/null

llvm.func @fine(%x: i32) -> i32 {
  llvm.return %x : i32
}

// -----

// expected-error @below {{'func.func' op may not occur in phase llvm}}
func.func @function() {
  return
}
