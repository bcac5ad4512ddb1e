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

// expected-error @below {{'moegpu.kernel' op takes 'f64'; arguments are !llvm.ptr<1>, i32, i64, f32 or, as tensor maps, !llvm.ptr}}
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

// expected-error @below {{'moegpu.kernel' op takes '!llvm.ptr<3>'; arguments are !llvm.ptr<1>, i32, i64, f32 or, as tensor maps, !llvm.ptr}}
moegpu.kernel @spaces(%x: !llvm.ptr<3>) threads 32 shared 0 {
  moegpu.return
}

// -----

moegpu.kernel @packs(%n: i32) threads 32 shared 0 {
  // expected-error @below {{'moegpu.packed_fma' op takes tf32 numbers; registers hold two of bf16 or f16}}
  %two = moegpu.packed_fma tf32 %n, %n, %n
  moegpu.return
}

// -----

moegpu.kernel @packs_bytes(%n: i32) threads 32 shared 0 {
  // expected-error @below {{'moegpu.packed_fma' op takes e4m3 numbers; registers hold two of bf16 or f16}}
  %two = moegpu.packed_fma e4m3 %n, %n, %n
  moegpu.return
}

// -----

moegpu.kernel @mbarrier_init_c1() threads 32 shared 64 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  // expected-error @below {{'moegpu.mbarrier_init' op counts to 0; it can be 1 to 1048575}}
  moegpu.mbarrier_init %s count 0 : !llvm.ptr<3>
  moegpu.return
}

// -----

moegpu.kernel @mbarrier_expect_c1() threads 32 shared 64 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  // expected-error @below {{'moegpu.mbarrier_expect' op expects bytes: 1048576; it can be 1 to 1048575}}
  moegpu.mbarrier_expect %s bytes 1048576 : !llvm.ptr<3>
  moegpu.return
}

// -----

moegpu.kernel @named_barrier_c1(%id: i32) threads 128 shared 0 {
  // expected-error @below {{'moegpu.named_barrier' op is of 100 threads; it takes a multiple of 32, at most 1024}}
  moegpu.named_barrier %id threads 100
  moegpu.return
}

// -----

moegpu.kernel @max_registers_c1() threads 128 shared 0 {
  // expected-error @below {{'moegpu.max_registers' op asks for 20 registers; it can be a multiple of 8, 24 to 256}}
  moegpu.max_registers decrease 20
  moegpu.return
}

// -----

moegpu.kernel @wgmma_c1(%c: f32) threads 128 shared 65536 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  %sums = vector.broadcast %c : f32 to vector<132xf32>
  // expected-error @below {{'moegpu.wgmma' op has 132 sums of a thread; it can be a multiple of 4, at most 128}}
  %d = moegpu.wgmma bf16 %s, %s, %sums : !llvm.ptr<3>, vector<132xf32>
  moegpu.return
}

// -----

moegpu.kernel @wgmma_c2(%c: f32) threads 128 shared 65536 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  %sums = vector.broadcast %c : f32 to vector<4xf32>
  // expected-error @below {{'moegpu.wgmma' op takes tf32 numbers; rows hold bf16, f16 or e4m3}}
  %d = moegpu.wgmma tf32 %s, %s, %sums : !llvm.ptr<3>, vector<4xf32>
  moegpu.return
}

// -----

moegpu.kernel @wgmma_registers_c1(%c: f32, %r: i32) threads 128 shared 65536 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  %sums = vector.broadcast %c : f32 to vector<132xf32>
  %a = vector.broadcast %r : i32 to vector<8xi32>
  // expected-error @below {{'moegpu.wgmma_registers' op has 132 sums of a thread; it can be a multiple of 4, at most 128}}
  %d = moegpu.wgmma_registers bf16 %a, %s from 0, %sums : vector<8xi32>, !llvm.ptr<3>, vector<132xf32>
  moegpu.return
}

// -----

moegpu.kernel @wgmma_registers_c2(%c: f32, %r: i32) threads 128 shared 65536 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  %sums = vector.broadcast %c : f32 to vector<4xf32>
  %a = vector.broadcast %r : i32 to vector<8xi32>
  // expected-error @below {{'moegpu.wgmma_registers' op takes tf32 numbers; rows hold bf16, f16 or e4m3}}
  %d = moegpu.wgmma_registers tf32 %a, %s from 0, %sums : vector<8xi32>, !llvm.ptr<3>, vector<4xf32>
  moegpu.return
}

// -----

moegpu.kernel @wgmma_registers_c3(%c: f32, %r: i32) threads 128 shared 65536 {
  %s = moegpu.shared 0 : !llvm.ptr<3>
  %sums = vector.broadcast %c : f32 to vector<4xf32>
  %a = vector.broadcast %r : i32 to vector<8xi32>
  // expected-error @below {{'moegpu.wgmma_registers' op has 8 registers of rows from step 3; it can be four for each of four steps}}
  %d = moegpu.wgmma_registers f16 %a, %s from 3, %sums : vector<8xi32>, !llvm.ptr<3>, vector<4xf32>
  moegpu.return
}
