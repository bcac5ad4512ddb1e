#ifndef MOE_DIALECTS_MOEGPU_MOEGPUOPS_TD
#define MOE_DIALECTS_MOEGPU_MOEGPUOPS_TD

include "mlir/Dialect/LLVMIR/LLVMOpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoEGPU_Dialect : Dialect {
  let name = "moegpu";
  let cppNamespace = "::moe::moegpu";
  let summary = "GPU kernels at the level of blocks, warps and their tiles";
  let description = [{
    What CUDA kernels are made of, with `arith`, `scf`, `vector` and
    `llvm.getelementptr` between. Every op has exactly two lowerings: NVVM
    (`--moegpu-to-nvvm`) and calls of the emulator (`--moegpu-to-emulator`), so
    that each kernel runs where there is no GPU. Hence memory is read and
    written by ops of this dialect alone.

    Pointers are LLVM's: address space 1 is global memory, 3 shared memory.
  }];
}

def MoEGPU_Global : LLVM_PointerInAddressSpace<1>;
def MoEGPU_Shared : LLVM_PointerInAddressSpace<3>;
/// A tensor map among a kernel's arguments.
def MoEGPU_TensorMap : LLVM_PointerInAddressSpace<0>;
def MoEGPU_Pointer : AnyTypeOf<[MoEGPU_Global, MoEGPU_Shared]>;
def MoEGPU_Number : AnyTypeOf<[I8, I16, I32, I64, F16, BF16, F32]>;
def MoEGPU_Value : AnyTypeOf<[
    MoEGPU_Number,
    VectorOfLengthAndType<[2, 4, 8, 16], [I8, I16, I32, I64, F16, BF16, F32]>]>;

class MoEGPU_Op<string mnemonic, list<Trait> traits = []>
    : Op<MoEGPU_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

def KernelOp : MoEGPU_Op<"kernel", [
    FunctionOpInterface, IsolatedFromAbove, AutomaticAllocationScope,
    HasParent<"::mlir::ModuleOp">]> {
  let summary = "A kernel, run by every thread of a one-dimensional grid";
  let description = [{
    `threads` of a block (a multiple of 32, at most 1024), and the bytes of
    `shared` memory that it asks for. Arguments are pointers to global memory,
    numbers, and, as `!llvm.ptr`, tensor maps: 128 bytes by value, which
    `tensor_load` alone may use.

    ```mlir
    moegpu.kernel @copy(%from: !llvm.ptr<1>, %to: !llvm.ptr<1>) threads 128 shared 0 {
      moegpu.return
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       TypeAttrOf<FunctionType>:$function_type,
                       I32Attr:$threads, I64Attr:$shared,
                       OptionalAttr<DictArrayAttr>:$arg_attrs,
                       OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region AnyRegion:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name,
                                 "::llvm::ArrayRef<::mlir::Type>":$arguments,
                                 "int32_t":$threads, "int64_t":$shared)>];
  let extraClassDeclaration = [{
    ::mlir::Region *getCallableRegion() { return &getBody(); }
    ::llvm::ArrayRef<::mlir::Type> getArgumentTypes() {
      return getFunctionType().getInputs();
    }
    ::llvm::ArrayRef<::mlir::Type> getResultTypes() { return {}; }
  }];
}

def ReturnOp : MoEGPU_Op<"return", [Pure, Terminator, HasParent<"KernelOp">]> {
  let summary = "The end of a kernel";
  let assemblyFormat = "attr-dict";
}

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

class MoEGPU_IndexOp<string mnemonic, string what> : MoEGPU_Op<mnemonic, [Pure]> {
  let summary = what;
  let results = (outs I32:$result);
  let assemblyFormat = "attr-dict";
}

def ThreadIdOp : MoEGPU_IndexOp<"thread_id", "The thread in its block">;
def BlockIdOp : MoEGPU_IndexOp<"block_id", "The block in the grid">;
def GridSizeOp : MoEGPU_IndexOp<"grid_size", "The blocks of the grid">;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

def SharedOp : MoEGPU_Op<"shared", [Pure]> {
  let summary = "The block's shared memory from a byte on";
  let arguments = (ins I64Attr:$offset);
  let results = (outs MoEGPU_Shared:$result);
  let assemblyFormat = "$offset attr-dict `:` qualified(type($result))";
}

def MoEGPU_Caching : I32EnumAttr<"Caching", "how a load uses the caches", [
    I32EnumAttrCase<"All", 0, "all">,
    I32EnumAttrCase<"Streaming", 1, "streaming">]> {
  let cppNamespace = "::moe::moegpu";
}

def LoadOp : MoEGPU_Op<"load", [MemoryEffects<[MemRead]>]> {
  let summary = "Reads a number or a vector of at most 16 bytes";
  let description = [{
    The pointer is a multiple of the size. `streaming` is for 16 bytes of
    weights, which no one writes and no other block reads: they pass the first
    cache by and fetch 128 bytes into the second.
  }];
  let arguments = (ins MoEGPU_Pointer:$pointer,
                       DefaultValuedAttr<MoEGPU_Caching, "Caching::All">:$caching);
  let results = (outs MoEGPU_Value:$result);
  let assemblyFormat = "$pointer ($caching^)? attr-dict `:` type($pointer) `->` type($result)";
  let hasVerifier = 1;
}

def StoreOp : MoEGPU_Op<"store", [MemoryEffects<[MemWrite]>]> {
  let summary = "Writes a number or a vector of at most 16 bytes";
  let arguments = (ins MoEGPU_Value:$value, MoEGPU_Pointer:$pointer);
  let assemblyFormat = "$value `,` $pointer attr-dict `:` type($value) `,` type($pointer)";
  let hasVerifier = 1;
}

def AtomicAddOp : MoEGPU_Op<"atomic_add", [
    MemoryEffects<[MemRead, MemWrite]>, TypesMatchWith<
        "the result is what the memory held", "value", "result", "$_self">]> {
  let summary = "Adds to a number in memory; gives what was there";
  let arguments = (ins AnyTypeOf<[I32, F32]>:$value, MoEGPU_Pointer:$pointer);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let assemblyFormat = "$value `,` $pointer attr-dict `:` type($value) `,` type($pointer)";
}

def AsyncCopyOp : MoEGPU_Op<"async_copy", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Copies 4, 8 or 16 bytes to shared memory, in its own time";
  let description = [{
    The first `valid` bytes are read, the rest is zero (0: nothing is read).
    Copies of a thread since the last `async_commit` are a group.
  }];
  let arguments = (ins MoEGPU_Shared:$to, MoEGPU_Global:$from, I32:$valid,
                       I32Attr:$size);
  let assemblyFormat = "$from `to` $to `size` $size `valid` $valid attr-dict `:` qualified(type($from)) `,` qualified(type($to))";
  let hasVerifier = 1;
}

def AsyncCommitOp : MoEGPU_Op<"async_commit", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Ends a group of copies";
  let assemblyFormat = "attr-dict";
}

def AsyncWaitOp : MoEGPU_Op<"async_wait", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Waits until at most so many groups of the thread are under way";
  let description = [{
    Other threads see the copies after the next `barrier`.
  }];
  let arguments = (ins I32Attr:$pending);
  let assemblyFormat = "$pending attr-dict";
}

//===----------------------------------------------------------------------===//
// Barriers that count, and tensor maps (sm_90)
//===----------------------------------------------------------------------===//

// Effects as of anything that other threads wait for.
class MoEGPU_WaitOp<string mnemonic>
    : MoEGPU_Op<mnemonic, [MemoryEffects<[MemRead, MemWrite]>]>;

def MBarrierInitOp : MoEGPU_WaitOp<"mbarrier_init"> {
  let summary = "Makes 8 bytes of shared memory a barrier that counts";
  let description = [{
    A phase of it ends after `count` arrivals, and once all bytes that were
    expected have come; the next one begins at once. Phases have parity 0, 1,
    0, ... One thread does it; before others use the barrier, its warp passes a
    `proxy_fence` and the block a `barrier`.

    - (C1) `count` is 1 to 1048575.
  }];
  let arguments = (ins MoEGPU_Shared:$barrier, I32Attr:$count);
  let assemblyFormat = "$barrier `count` $count attr-dict `:` qualified(type($barrier))";
  let hasVerifier = 1;
}

def MBarrierArriveOp : MoEGPU_WaitOp<"mbarrier_arrive"> {
  let summary = "The thread arrives: what it did is seen by who waits";
  let arguments = (ins MoEGPU_Shared:$barrier);
  let assemblyFormat = "$barrier attr-dict `:` qualified(type($barrier))";
}

def MBarrierExpectOp : MoEGPU_WaitOp<"mbarrier_expect"> {
  let summary = "Announces bytes of `tensor_load`s in this phase, and arrives";
  let description = [{
    - (C1) `bytes` is 1 to 1048575.
  }];
  let arguments = (ins MoEGPU_Shared:$barrier, I32Attr:$bytes);
  let assemblyFormat = "$barrier `bytes` $bytes attr-dict `:` qualified(type($barrier))";
  let hasVerifier = 1;
}

def MBarrierArriveCopiesOp : MoEGPU_WaitOp<"mbarrier_arrive_copies"> {
  let summary = "The thread arrives once its `async_copy`s so far are done";
  let description = [{
    They need neither `async_commit` nor `async_wait` then. Who multiplies what
    they brought (`wgmma`) passes a `proxy_fence` after waiting.
  }];
  let arguments = (ins MoEGPU_Shared:$barrier);
  let assemblyFormat = "$barrier attr-dict `:` qualified(type($barrier))";
}

def MBarrierWaitOp : MoEGPU_WaitOp<"mbarrier_wait"> {
  let summary = "Waits until the phase of that parity has ended";
  let description = [{
    That is, until the current phase has the other parity. On a new barrier
    parity 1 waits for nothing.
  }];
  let arguments = (ins MoEGPU_Shared:$barrier, I32:$parity);
  let assemblyFormat = "$barrier `,` $parity attr-dict `:` qualified(type($barrier))";
}

def TensorLoadOp : MoEGPU_Op<"tensor_load", [
    MemoryEffects<[MemRead, MemWrite]>, AllTypesMatch<["to", "barrier"]>]> {
  let summary = "Copies a box of rows of matrices to shared memory";
  let description = [{
    `map` describes matrices of one shape, and the box; it was encoded by who
    launches the kernel (`cuTensorMapEncodeTiled`): 3 dimensions, rows of the
    box of 128 bytes, 128-byte swizzle. The box begins at number `depth` of row
    `row` of matrix `matrix`; zero where it lies outside. In shared memory 16
    bytes `i` of row `r` are chunk `8 r + (i xor r % 8)`, as `wgmma` wants it.
    `to` is a multiple of 1024. One thread does it; `barrier` counts the bytes
    of the whole box when they are there.

    ```mlir
    moegpu.tensor_load %map[%matrix, %row, %depth] to %to, %barrier : !llvm.ptr, !llvm.ptr<3>
    ```
  }];
  let arguments = (ins MoEGPU_TensorMap:$map, I32:$matrix, I32:$row, I32:$depth,
                       MoEGPU_Shared:$to, MoEGPU_Shared:$barrier);
  let assemblyFormat = "$map `[` $matrix `,` $row `,` $depth `]` `to` $to `,` $barrier attr-dict `:` qualified(type($map)) `,` qualified(type($to))";
}

def ProxyFenceOp : MoEGPU_WaitOp<"proxy_fence"> {
  let summary = "What was stored is seen by `wgmma` and `tensor_load`";
  let description = [{
    These read and write shared memory another way than `store` and
    `async_copy` do. Between a write of the latter kind and `wgmma` lies a fence,
    of the writer or of who waited for it; likewise between `mbarrier_init`
    and `tensor_load`.
  }];
  let assemblyFormat = "attr-dict";
}

//===----------------------------------------------------------------------===//
// Threads together
//===----------------------------------------------------------------------===//

def BarrierOp : MoEGPU_Op<"barrier", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "All threads of the block meet";
  let assemblyFormat = "attr-dict";
}

def NamedBarrierOp : MoEGPU_Op<"named_barrier", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "So many threads of the block meet at barrier `id`";
  let description = [{
    `id` is 1 to 15; 0 is `barrier`'s. All threads give the same number.

    - (C1) `threads` is a multiple of 32, at most 1024.
  }];
  let arguments = (ins I32:$id, I32Attr:$threads);
  let assemblyFormat = "$id `threads` $threads attr-dict";
  let hasVerifier = 1;
}

def MaxRegistersOp : MoEGPU_Op<"max_registers", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "A warpgroup gives registers back, or takes more";
  let description = [{
    `setmaxnreg`: all warps of a warpgroup (128 threads) do it. A thread has so
    many registers afterwards.

    - (C1) `count` is a multiple of 8, 24 to 256.
  }];
  let arguments = (ins I32Attr:$count, UnitAttr:$increase);
  let assemblyFormat = "(`increase` $increase^):(`decrease`)? $count attr-dict";
  let hasVerifier = 1;
}

def MoEGPU_ShuffleKind : I32EnumAttr<"ShuffleKind", "which lane to read", [
    I32EnumAttrCase<"Xor", 0, "xor">, I32EnumAttrCase<"Up", 1, "up">,
    I32EnumAttrCase<"Down", 2, "down">, I32EnumAttrCase<"Idx", 3, "idx">]> {
  let cppNamespace = "::moe::moegpu";
}

// Not pure: all lanes of a warp must take part.
def ShuffleOp : MoEGPU_Op<"shuffle", [
    MemoryEffects<[MemRead, MemWrite]>, TypesMatchWith<
        "the result is a value of the same type", "value", "result", "$_self">]> {
  let summary = "The value of another lane of the warp";
  let description = [{
    Lanes that would lie outside of the warp give the thread's own value.
  }];
  let arguments = (ins AnyTypeOf<[I32, F32]>:$value, I32:$lane,
                       MoEGPU_ShuffleKind:$kind);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let assemblyFormat = "$kind $value `,` $lane attr-dict `:` type($value)";
}

def BallotOp : MoEGPU_Op<"ballot", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Bit i: what lane i of the warp says";
  let arguments = (ins I1:$predicate);
  let results = (outs I32:$result);
  let assemblyFormat = "$predicate attr-dict";
}

//===----------------------------------------------------------------------===//
// Tensor cores
//===----------------------------------------------------------------------===//

def MoEGPU_MmaKind : I32EnumAttr<"MmaKind", "numbers that are multiplied", [
    I32EnumAttrCase<"BF16", 0, "bf16">, I32EnumAttrCase<"F16", 1, "f16">,
    I32EnumAttrCase<"TF32", 2, "tf32">, I32EnumAttrCase<"E4M3", 3, "e4m3">]> {
  let cppNamespace = "::moe::moegpu";
}

class MoEGPU_Registers<int count, Type type, string make>
    : VectorOfLengthAndType<[count], [type]>,
      BuildableType<"::mlir::VectorType::get({" # count # "}, $_builder.get" # make # "Type())">;
def MoEGPU_Int2 : MoEGPU_Registers<2, I32, "I32">;
def MoEGPU_Int4 : MoEGPU_Registers<4, I32, "I32">;
def MoEGPU_Float4 : MoEGPU_Registers<4, F32, "F32">;

def MmaOp : MoEGPU_Op<"mma", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "d = a b + c of a 16 x k and a k x 8 matrix, by a warp";
  let description = [{
    `mma.sync.m16n8k16`, of 16-bit numbers. With g = lane / 4 and t = lane % 4 a lane holds, two
    numbers to a register: of a rows g and g + 8 at k 2t, 2t + 1 (registers 0
    and 1) and the same at k + 8 (2 and 3); of b column g at k 2t, 2t + 1 (0)
    and k + 8 (1); of c and d row g at columns 2t, 2t + 1 (0 and 1) and row g +
    8 (2 and 3). PTX ISA, "Matrix Fragments for mma.m16n8k16".

    `tf32`: `mma.sync.m16n8k8`, one number to a register: of a rows g and g + 8
    at k t (0 and 1) and t + 4 (2 and 3); of b column g at k t (0) and t + 4
    (1); c and d as above. Numbers are f32 that `round_tf32` has rounded.

    `e4m3`: `mma.sync.m16n8k32`, four numbers to a register, from sm_89 on: of a
    rows g and g + 8 at k 4t to 4t + 3 (0 and 1) and the same at k + 16 (2 and
    3); of b column g at the same (0 and 1); c and d as above. Hardware keeps
    some 14 bits of the sums: what should be more exact is added elsewhere after
    a few of them.
  }];
  let arguments = (ins MoEGPU_Int4:$a, MoEGPU_Int2:$b, MoEGPU_Float4:$c,
                       MoEGPU_MmaKind:$kind);
  let results = (outs MoEGPU_Float4:$result);
  let assemblyFormat = "$kind $a `,` $b `,` $c attr-dict";
}

def LoadMatrixOp : MoEGPU_Op<"load_matrix", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Fragments of 8 x 8 matrices of 16-bit numbers, by a warp";
  let description = [{
    `ldmatrix`: as many matrices as the result has registers (2 or 4); lanes 8i
    to 8i + 7 point to the rows of matrix i, 16 bytes each.
  }];
  let arguments = (ins MoEGPU_Shared:$row, UnitAttr:$transposed);
  let results = (outs VectorOfLengthAndType<[2, 4], [I32]>:$result);
  let assemblyFormat = "$row (`transposed` $transposed^)? attr-dict `:` qualified(type($row)) `->` type($result)";
}

//===----------------------------------------------------------------------===//
// Tensor cores by warpgroups (sm_90a)
//===----------------------------------------------------------------------===//

def MoEGPU_Sums : VectorOfRankAndType<[1], [F32]>;

def WgmmaOp : MoEGPU_Op<"wgmma", [
    MemoryEffects<[MemRead, MemWrite]>, AllTypesMatch<["a", "b"]>,
    TypesMatchWith<"the result is sums like c", "c", "result", "$_self">]> {
  let summary = "d = a b^T + c of 64 rows and N rows of 128 bytes, by a warpgroup";
  let description = [{
    `wgmma.mma_async.m64nNk16`, four times: 64 rows of `a` and N of `b`, 64
    numbers of 16 bits each, lie in shared memory as `tensor_load` puts them.
    All 128 threads give the same two addresses, multiples of 1024. `e4m3`:
    `m64nNk32`, four times, of 128 numbers of a row.

    A thread holds N / 2 sums: with g = lane / 4 and t = lane % 4, of the row g
    of the 16 of its warp those of columns 8i + 2t and 8i + 2t + 1 (numbers 4i
    and 4i + 1), and of row g + 8 the same (4i + 2 and 4i + 3). PTX ISA, "WGMMA
    Matrix D".

    It runs in its own time. Until `wgmma_finish` the result may only be the
    `c` of another `wgmma`; until it or a `wgmma_wait` nobody writes to the
    operands. Hardware keeps some 14 bits of sums of e4m3 numbers (see `mma`).

    - (C1) There are N / 2 sums, N a multiple of 8, at most 256.
    - (C2) Numbers are bf16, f16 or e4m3.

    ```mlir
    %d = moegpu.wgmma bf16 %a, %b, %c : !llvm.ptr<3>, vector<128xf32>
    ```
  }];
  let arguments = (ins MoEGPU_Shared:$a, MoEGPU_Shared:$b, MoEGPU_Sums:$c,
                       MoEGPU_MmaKind:$kind);
  let results = (outs MoEGPU_Sums:$result);
  let assemblyFormat = "$kind $a `,` $b `,` $c attr-dict `:` qualified(type($a)) `,` type($c)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$a, "::mlir::Value":$b,
                                 "::mlir::Value":$c, "MmaKind":$kind), [{
    build($_builder, $_state, c.getType(), a, b, c, kind);
  }]>];
}

def WgmmaRegistersOp : MoEGPU_Op<"wgmma_registers", [
    MemoryEffects<[MemRead, MemWrite]>,
    TypesMatchWith<"the result is sums like c", "c", "result", "$_self">]> {
  let summary = "`wgmma` with the 64 rows of `a` in registers";
  let description = [{
    Each four registers of `a` are 32 bytes of a warp's 16 rows, as in `mma`:
    register r is that of row lane / 4 + 8 (r % 2) at depth 2 (lane % 4) + 8 (r
    / 2) and the next or, `e4m3`, at depth 4 (lane % 4) + 16 (r / 2) and the
    next three. They meet N rows of 128 bytes at `b` from step `first` on, of
    the four steps of 32 bytes that these have.

    All else is as for `wgmma`. Registers of `a` are not changed until the
    product is waited for, by who allocates them.

    - (C1) There are N / 2 sums, N a multiple of 8, at most 256.
    - (C2) Numbers are bf16, f16 or e4m3.
    - (C3) `a` has 4, 8, 12 or 16 registers, for steps up to the fourth.

    ```mlir
    %d = moegpu.wgmma_registers bf16 %a, %b from 2, %c : vector<8xi32>, !llvm.ptr<3>, vector<64xf32>
    ```
  }];
  let arguments = (ins VectorOfRankAndType<[1], [I32]>:$a, MoEGPU_Shared:$b,
                       MoEGPU_Sums:$c, I32Attr:$first, MoEGPU_MmaKind:$kind);
  let results = (outs MoEGPU_Sums:$result);
  let assemblyFormat = "$kind $a `,` $b `from` $first `,` $c attr-dict `:` type($a) `,` qualified(type($b)) `,` type($c)";
  let hasVerifier = 1;
}

def WgmmaFenceOp : MoEGPU_WaitOp<"wgmma_fence"> {
  let summary = "Orders registers that a `wgmma` takes as sums";
  let description = [{
    Comes before the first `wgmma` that gets sums from elsewhere than a `wgmma`.
  }];
  let assemblyFormat = "attr-dict";
}

def WgmmaCommitOp : MoEGPU_WaitOp<"wgmma_commit"> {
  let summary = "Ends a group of `wgmma`s";
  let assemblyFormat = "attr-dict";
}

def WgmmaWaitOp : MoEGPU_WaitOp<"wgmma_wait"> {
  let summary = "Waits until at most so many groups of the warp are under way";
  let arguments = (ins I32Attr:$pending);
  let assemblyFormat = "$pending attr-dict";
}

def WgmmaFinishOp : MoEGPU_Op<"wgmma_finish", [
    MemoryEffects<[MemRead, MemWrite]>,
    TypesMatchWith<"the result is sums like the operand", "sums", "result", "$_self">]> {
  let summary = "Waits for all groups of the warp; gives the sums";
  let arguments = (ins MoEGPU_Sums:$sums);
  let results = (outs MoEGPU_Sums:$result);
  let assemblyFormat = "$sums attr-dict `:` type($sums)";
}

//===----------------------------------------------------------------------===//
// Numbers in registers
//===----------------------------------------------------------------------===//

def RoundTF32Op : MoEGPU_Op<"round_tf32", [Pure]> {
  let summary = "The bits of the nearest number with 10 bits after the point";
  let description = [{
    Ties go away from zero. What `mma tf32` wants.
  }];
  let arguments = (ins F32:$operand);
  let results = (outs I32:$result);
  let assemblyFormat = "$operand attr-dict";
}

def RoundE4M3Op : MoEGPU_Op<"round_e4m3", [Pure]> {
  let summary = "The nearest E4M3 numbers, one to a byte";
  let description = [{
    Ties go to even, what is larger than 448 becomes 448, NaN stays NaN. From
    sm_89 on; `cvt.rn.satfinite.e4m3x2.f32`, twice.
  }];
  let arguments = (ins F32:$first, F32:$second, F32:$third, F32:$fourth);
  let results = (outs I32:$result);
  let assemblyFormat = "$first `,` $second `,` $third `,` $fourth attr-dict";
}

def PackedFmaOp : MoEGPU_Op<"packed_fma", [Pure]> {
  let summary = "a b + c of the two 16-bit numbers of registers, rounded once";
  let arguments = (ins I32:$a, I32:$b, I32:$c, MoEGPU_MmaKind:$kind);
  let results = (outs I32:$result);
  let assemblyFormat = "$kind $a `,` $b `,` $c attr-dict";
  let hasVerifier = 1;
}

def PermuteBytesOp : MoEGPU_Op<"permute_bytes", [Pure]> {
  let summary = "Four of the eight bytes of two registers";
  let description = [{
    Byte i of the result is byte (selector >> 4 i) % 8: 0 to 3 are those of
    `low`, 4 to 7 of `high`. Bit 3 of each of the four must be 0.
  }];
  let arguments = (ins I32:$low, I32:$high, I32:$selector);
  let results = (outs I32:$result);
  let assemblyFormat = "$low `,` $high `,` $selector attr-dict";
}

//===----------------------------------------------------------------------===//
// Approximate functions
//===----------------------------------------------------------------------===//

class MoEGPU_ApproximateOp<string mnemonic, string what>
    : MoEGPU_Op<mnemonic, [Pure]> {
  let summary = what;
  let arguments = (ins F32:$operand);
  let results = (outs F32:$result);
  let assemblyFormat = "$operand attr-dict";
}

def Exp2Op : MoEGPU_ApproximateOp<"exp2", "2^x, to 2 units in the last place">;
def ReciprocalOp : MoEGPU_ApproximateOp<"reciprocal", "1 / x, to 1 unit in the last place">;

#endif // MOE_DIALECTS_MOEGPU_MOEGPUOPS_TD
