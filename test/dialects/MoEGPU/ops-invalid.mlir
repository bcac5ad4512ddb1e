// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{'moegpu.kernel' op has 48 threads; a block has a multiple of 32, at most 1024}}
moegpu.kernel @warps() threads 48 shared 0 {
  moegpu.return
}

// -----

// expected-error @below {{'moegpu.kernel' op asks for 262144 bytes of shared memory; a block has at most 232448}}
moegpu.kernel @memory() threads 32 shared 262144 {
  moegpu.return
}

// -----

// expected-error @below {{'moegpu.kernel' op has results; kernels write to memory}}
moegpu.kernel @results() -> i32 threads 32 shared 0 {
  moegpu.return
}

// -----

// expected-error @below {{'moegpu.kernel' op takes 'f64'; arguments are !llvm.ptr<1>, i32, i64 or f32}}
moegpu.kernel @arguments(%x: f64) threads 32 shared 0 {
  moegpu.return
}

// -----

moegpu.kernel @wide(%x: !llvm.ptr<1>) threads 32 shared 0 {
  // expected-error @below {{'moegpu.load' op moves 'vector<8xf32>', more than the 16 bytes of one access}}
  %v = moegpu.load %x : !llvm.ptr<1> -> vector<8xf32>
  moegpu.return
}

// -----

moegpu.kernel @wide_store(%x: !llvm.ptr<1>) threads 32 shared 0 {
  %v = arith.constant dense<0.0> : vector<8xf32>
  // expected-error @below {{'moegpu.store' op moves 'vector<8xf32>', more than the 16 bytes of one access}}
  moegpu.store %v, %x : vector<8xf32>, !llvm.ptr<1>
  moegpu.return
}

// -----

moegpu.kernel @streams(%x: !llvm.ptr<1>) threads 32 shared 0 {
  // expected-error @below {{'moegpu.load' op streams something other than 16 bytes of global memory}}
  %v = moegpu.load %x streaming : !llvm.ptr<1> -> f32
  moegpu.return
}

// -----

moegpu.kernel @copies(%x: !llvm.ptr<1>, %n: i32) threads 32 shared 64 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  // expected-error @below {{'moegpu.async_copy' op copies 12 bytes, not 4, 8 or 16}}
  moegpu.async_copy %x to %s size 12 valid %n : !llvm.ptr<1>, !llvm.ptr<3>
  moegpu.return
}

// -----

// expected-error @below {{'moegpu.kernel' op takes '!llvm.ptr'; arguments are !llvm.ptr<1>, i32, i64 or f32}}
moegpu.kernel @spaces(%x: !llvm.ptr) threads 32 shared 0 {
  moegpu.return
}

// -----

moegpu.kernel @packs(%n: i32) threads 32 shared 0 {
  // expected-error @below {{'moegpu.packed_fma' op takes tf32 numbers; registers hold two of bf16 or f16}}
  %two = moegpu.packed_fma tf32 %n, %n, %n
  moegpu.return
}
