#ifndef MOE_CODEGEN_LLVM_PASSES_TD
#define MOE_CODEGEN_LLVM_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlaceWeightsPass : Pass<"moe-place-weights", "::mlir::ModuleOp"> {
  let summary = "Give every bank that code reads its place in the artefact";
  let description = [{
    Sets `moe.place` (bytes from the start of the packed weights) on each
    `moe.bank` that a `moert.weight_ref` reads, in the order of first use, and
    `moe.weights_size` on the module. Places are multiples of 64 bytes, of
    4096 from 64 KiB on, so that big weights share no page.
  }];
  // Bufferization, which runs before, makes moert.weight_ref.
  let dependentDialects = ["::moe::moert::MoERTDialect"];
}

def FreeBuffersPass : Pass<"moe-free-buffers", "::mlir::func::FuncOp"> {
  let summary = "Free buffers after their last use";
  let description = [{
    Inserts a `memref.dealloc` after the last use of each `memref.alloc`,
    views and loop results included. A buffer that leaves its block is
    left alone: memory is recycled when the run ends, so a missed one costs
    memory for a while and is never an error.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def AppendInPlacePass : Pass<"moe-append-in-place", "::mlir::func::FuncOp"> {
  let summary = "Append keys and values where they are";
  let description = [{
    In @main a `moert.kv_append` of an input nobody else reads, whose result is
    an output, becomes `moert.cache` and a transposition of the new rows: the
    runtime keeps such an output in place when it is fed back, so that a step
    copies nothing of what is cached. Readers of the result (`moert` ops,
    linalg, loads) take its strides; where one cannot, the op is left alone.
  }];
  let dependentDialects = ["::moe::moert::MoERTDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::memref::MemRefDialect"];
}

def LowerCopiesPass : Pass<"moe-lower-copies", "::mlir::func::FuncOp"> {
  let summary = "Turn memref.copy into linalg.copy";
  let description = [{
    Upstream lowers a copy of dynamic shape to a call of a slow helper that
    we do not link; as loops it becomes a memcpy or vector code.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def RelaxFloatsPass : Pass<"moe-relax-floats"> {
  let summary = "Allow LLVM to vectorise sums";
  let description = [{
    Marks floating-point arithmetic `reassoc`, `contract`, `nsz`. Never `nnan`
    or `ninf`: NaN and infinity keep their meaning.
  }];
}

def ExpandMathPass : Pass<"moe-expand-math"> {
  let summary = "Approximate f32 functions by polynomials";
  let description = [{
    On scalars, so that LLVM vectorises them with the loop around; sine and
    cosine stay calls (their polynomial loses accuracy for large arguments).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

def LowerRuntimeCallsPass : Pass<"moe-lower-runtime-calls", "::mlir::ModuleOp"> {
  let summary = "Turn weights and assertions into the runtime's terms";
  let description = [{
    `moert.weight_ref` becomes the weights' base address plus the bank's
    place (`moe-place-weights` has run), `cf.assert` a call of `moert_fail`,
    `moert.cache` one of `moert_append`.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::cf::ControlFlowDialect"];
}

#endif // MOE_CODEGEN_LLVM_PASSES_TD
