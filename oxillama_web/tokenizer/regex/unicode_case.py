"""Characters that are equal without regard to case; made by tools/make_unicode_ranges.py.

PAIRS lists runs of two equal characters: the first code point, the distance to its partner, the
step to the next pair, and their number, all in base 36. CLASSES lists more than two, in base 36.
EXPANSIONS lists a character that is equal to several, followed by these. Source: Oniguruma in
tokenizers 0.23.3.
"""

from __future__ import annotations

# fmt: off
PAIRS = (
        "1t,w,1,a 24,w,1,7 2c,w,1,7 5c,w,1,5 5i,w,1,h 60,w,1,7 67,5vj,1,1 73,3d,1,1 74,1,2,o 8i,1,"
        "2,3 8p,1,2,8 96,1,2,n ah,1,2,3 ao,5f,1,1 ap,5u,1,1 aq,1,2,2 au,5q,1,1 av,1,1,1 ax,5p,1,2 "
        "az,1,1,1 b2,27,1,1 b3,5m,1,1 b4,5n,1,1 b5,1,1,1 b7,5p,1,1 b8,5r,1,1 b9,2p,1,1 ba,5v,1,1 b"
        "b,5t,1,1 bc,1,1,1 be,4j,1,1 bf,wu9,1,1 bg,5v,1,1 bh,5x,1,1 bi,3m,1,1 bj,5y,1,1 bk,1,2,3 b"
        "q,62,1,1 br,1,1,1 bt,62,1,1 bw,1,1,1 by,62,1,1 bz,1,1,1 c1,61,1,2 c3,1,2,2 c7,63,1,1 c8,1"
        ",1,1 cc,1,1,1 cf,1k,1,1 ct,1,2,8 da,1,2,9 dw,1,1,1 e0,1,2,k f6,1,2,9 fu,8bv,1,1 fv,1,1,1 "
        "fy,8bs,1,1 fz,8cf,1,2 g1,1,1,1 g4,1x,1,1 g5,1z,1,1 g6,1,2,5 gg,8bj,1,1 gh,8bg,1,1 gi,8bi,"
        "1,1 gs,wnj,1,1 gx,wnf,1,1 h0,wo7,1,1 h1,wmg,1,1 h2,wn8,1,1 h6,wn8,1,1 h7,8af,1,1 h8,wn5,1"
        ",1 hd,8al,1,1 hp,89z,1,1 hu,wn7,1,1 hz,wmi,1,1 il,wlx,1,1 im,wlu,1,1 og,1,2,2 om,1,1,1 or"
        ",3m,1,3 ov,38,1,1 p2,12,1,1 p4,11,1,3 p8,1s,1,1 pa,1r,1,2 pc,5kz,1,1 pd,w,2,2 pg,w,2,2 pj"
        ",w,1,1 pn,w,2,3 pq,w,1,1 pw,w,1,2 pz,w,1,2 q2,w,1,2 q8,5kj,1,1 r3,8,1,1 rc,1,2,c s2,7,1,1"
        " s7,1,1,1 sa,1,1,1 sg,28,1,g sw,w,1,2 sz,w,2,7 t2,w,2,4 tc,w,1,1 tf,w,1,7 tn,w,1,5 v4,1,1"
        ",1 v8,1,2,f wa,1,2,r xs,f,1,1 xt,1,2,7 y8,1,2,1c 10x,1c,1,12 3a8,5ls,1,12 3bb,5ls,1,1 3bh"
        ",5ls,1,1 3bk,2bk,1,17 3ct,2bk,1,3 3vk,tzk,1,28 3xs,8,1,6 5mx,1,1,1 5tl,r9g,1,1 5tp,2xy,1,"
        "1 5u6,raw,1,1 5xc,1,2,1c 602,1,2,q 61s,1,2,1c 64g,8,1,8 64w,8,1,6 65c,8,1,8 65s,8,1,8 668"
        ",8,1,6 66p,8,2,4 674,8,1,8 67k,22,1,2 67m,2e,1,4 67q,2s,1,2 67s,3k,1,2 67u,34,1,2 67w,3i,"
        "1,2 680,8,1,8 68g,8,1,8 68w,8,1,8 69c,8,1,2 69f,9,1,1 69v,9,1,1 6a8,8,1,2 6ao,8,1,2 6at,7"
        ",1,1 6b7,9,1,1 6k2,s,1,1 6lc,g,1,g 6mb,1,1,1 792,q,1,q 8ow,1c,1,1c 8rk,1,1,1 8rr,1,2,3 8s"
        "2,1,1,1 8s5,1,1,1 8sg,1,2,1e 8vf,1,2,2 8vm,1,1,1 wu8,1,2,5 wuk,1,2,h ww0,1,2,e x0i,1,2,7 "
        "x0y,1,2,v x2x,1,2,2 x32,1,2,5 x3f,1,1,1 x3k,1,2,2 x3o,1c,1,1 x3q,1,2,a x4j,ps,1,1 x4k,1,2"
        ",8 x53,1,2,2 x58,1,1,1 x5c,1,1,1 x5i,1,2,3 x6d,1,1,1 1dl1,1,1,1 1ee9,w,1,q 1fcw,14,1,14 1"
        "fhs,14,1,10 1fn4,13,1,b 1fng,13,1,f 1fnw,13,1,7 1fo4,13,1,2 1h1c,1s,1,1f 1h74,w,1,m 1jfk,"
        "w,1,w 20cg,w,1,w 2olc,y,1,y"
)
CLASSES = (
        "23=2z=6ju 2b=37=an 51=po=qk 5h=6d=6jv ck=cl=cm cn=co=cp cq=cr=cs dt=du=dv n9=pl=qh=69q pe"
        "=qa=r4 ph=qd=s5 pk=qg=r5=s4 pm=qi=s0 ps=qo=ra pt=qp=s1 pv=qq=qr py=qu=r9 q1=qx=6jq sy=tu="
        "5mo t0=tw=5mp ta=u6=5mq td=u9=5mr te=ua=5ms=5mt tm=ui=5mu v6=v7=5mv 5mw=wui=wuj 600=601=6"
        "1n"
)
EXPANSIONS = (
        "67=37=37 8g=2x=lj 95=jg=32 ds=2y=lo pc=qh=lk=ld q8=qt=lk=ld 13b=12d=136 61i=2w=mp 61j=38="
        "lk 61k=3b=lm 61l=3d=lm 61m=2p=ji 61q=37=37 66o=qt=lv 66q=qt=lv=lc 66s=qt=lv=ld 66u=qt=lv="
        "n6 680=64g=qh 681=64h=qh 682=64i=qh 683=64j=qh 684=64k=qh 685=64l=qh 686=64m=qh 687=64n=q"
        "h 688=64g=qh 689=64h=qh 68a=64i=qh 68b=64j=qh 68c=64k=qh 68d=64l=qh 68e=64m=qh 68f=64n=qh"
        " 68g=65c=qh 68h=65d=qh 68i=65e=qh 68j=65f=qh 68k=65g=qh 68l=65h=qh 68m=65i=qh 68n=65j=qh "
        "68o=65c=qh 68p=65d=qh 68q=65e=qh 68r=65f=qh 68s=65g=qh 68t=65h=qh 68u=65i=qh 68v=65j=qh 6"
        "8w=674=qh 68x=675=qh 68y=676=qh 68z=677=qh 690=678=qh 691=679=qh 692=67a=qh 693=67b=qh 69"
        "4=674=qh 695=675=qh 696=676=qh 697=677=qh 698=678=qh 699=679=qh 69a=67a=qh 69b=67b=qh 69e"
        "=67k=qh 69f=q9=qh 69g=q4=qh 69i=q9=n6 69j=q9=n6=qh 69o=q9=qh 69u=67o=qh 69v=qf=qh 69w=q6="
        "qh 69y=qf=n6 69z=qf=n6=qh 6a4=qf=qh 6aa=qh=lk=lc 6ab=qh=lk=ld 6ae=qh=n6 6af=qh=lk=n6 6aq="
        "qt=lk=lc 6ar=qt=lk=ld 6as=qp=lv 6au=qt=n6 6av=qt=lk=n6 6b6=67w=qh 6b7=qx=qh 6b8=r2=qh 6ba"
        "=qx=n6 6bb=qx=n6=qh 6bg=qx=qh 1dkw=2u=2u 1dkx=2u=2x 1dky=2u=30 1dkz=2u=2u=2x 1dl0=2u=2u=3"
        "0 1dl1=37=38 1dl2=37=38 1dlf=12s=12u 1dlg=12s=12d 1dlh=12s=12j 1dli=132=12u 1dlj=12s=12l"
)
