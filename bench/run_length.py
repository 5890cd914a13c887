"""How long the engine runs to a false alarm: draft."""
from __future__ import annotations
import sys, time
from pathlib import Path
import numpy as np
sys.path.append(str(Path(__file__).parent.parent))
from bench.simulated import *
from rollguard.detectors.recursion import Recursion

NOMINAL=(1000,5000,20000)
WIDTH=(16,48,128)
def run(kinds, shop, columns_of, directions, buckets, tick, seed):
    rng=np.random.default_rng(seed)
    n=shop.n_series
    gamma=np.concatenate([np.full(w,g) for g,w in zip(NOMINAL,WIDTH)]).astype(np.float32)
    gamma=np.tile(gamma, n//len(gamma))
    alarms={d:np.zeros(n) for d in directions}
    rec={}
    for epoch in range(buckets//EPOCH):
        shop.begin(epoch)
        data=shop.draw(rng,EPOCH)
        for d in directions:
            ev=shop.evidence(d,0.10)
            if d not in rec:
                rec[d]=Recursion(ev.n_tilts); rec[d].grow(n)
            L=np.exp(ev.nats(data))
            A=gamma*ev.slack
            r=rec[d]; al=alarms[d]
            for each in L:
                v=r.step(each)
                over=v>=A
                if over.any():
                    rows=np.flatnonzero(over); al[rows]+=1; r.forget(rows)
        tick()
    per=sum(WIDTH)
    for d in directions:
        for i,k in enumerate(kinds):
            out=[]
            for j,g in enumerate(NOMINAL):
                lo=i*per+sum(WIDTH[:j]); a=alarms[d][lo:lo+WIDTH[j]].sum()
                m=WIDTH[j]*buckets/max(a,1)
                out.append(f"{m/g:.2f}±{m/g/max(a,1)**.5:.2f}")
            print(k,d,*out, flush=True)
T=int(sys.argv[1])
per=sum(WIDTH)
what=sys.argv[2:] 
def rep(x): return np.repeat(np.array(x,float),per)
t=time.time()
if "counts" in what:
    cfg=[(m,1.,s) for m in (.3,2,20,200) for s in (0,.75)]+[(20,f,s) for f in (2.,5.) for s in (0,.75)]
    run([f"mean {a} scatter {b} swing {c}" for a,b,c in cfg], Counts(rep([a for a,_,_ in cfg]),rep([b for _,b,_ in cfg]),rep([c for _,_,c in cfg])),None,("lower","higher"),T,lambda:None,1)
    print(time.time()-t)
if "odds" in what:
    cfg=[(p,n,s) for p,n in ((.01,1000),(.2,50),(.01,20)) for s in (0,.75)]
    run([f"odds {a} {b} swing {c}" for a,b,c in cfg], Odds(rep([a for a,_,_ in cfg]),rep([b for _,b,_ in cfg]),rep([c for _,_,c in cfg])),None,("lower","higher"),T,lambda:None,2)
    print(time.time()-t)
if "bins" in what:
    cfg=[(n,s) for n in (2,20,100) for s in (0,.75)]
    run([f"bins {a} swing {b}" for a,b in cfg], Bins(rep([a for a,_ in cfg]),rep([c for _,c in cfg])),None,("lower","higher"),T,lambda:None,3)
    print(time.time()-t)
